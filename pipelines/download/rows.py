"""Rows of DataComp's metadata, as img2dataset is asked for them. Nothing that stands in them is trusted.

A row that can't be asked for costs no neighbour. One whose face boxes make no sense is not asked for either: faces that
nobody can find would stay as they are.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation.sources import SourceReader
from pipelines.img2dataset.failures import NOT_HTTP
from pipelines.img2dataset.process import URLS
from pipelines.inputs.source_files import Item
from pipelines.recipes.download import DownloadRecipe
from schemas.records.document import CaptionDraft
from schemas.records.quarantine import Reason, Rejected
from schemas.records.training_text import training_text
from schemas.records.uid import uid_text
from schemas.web_address import is_web_address

MAX_TEXT = 1 << 17  # bytes of a caption, an address or a uid: a .json of all three is one that readers take
MAX_BOXES = 1000  # of one image; each is a pass over its pixels
SLACK = 1.0  # images by which a box may leave its own: detectors' boxes do so a little, hostile ones by far

_CAPTIONS = ("text", "caption")  # DataComp's own name comes first
_BOXES = pa.list_(pa.list_(pa.float64()))


@dataclass(frozen=True, slots=True)
class MetadataRow:
    """One row. `fault` says why it is not asked for, if it is not: a word, and the details."""

    key: str
    uid: str | None = None
    url: str | None = None
    caption: str | None = None
    face_bboxes: list[list[float]] | None = None  # x1, y1, x2, y2 in 0 to 1; None: nothing is to be blurred
    sha256: str | None = None  # that of the file as it was when the pool was made
    fault: tuple[str, str] | None = None


def _no_draft(*_: Any) -> CaptionDraft:
    raise NotImplementedError  # it has addresses alone


def metadata_reader(recipe: DownloadRecipe) -> SourceReader:
    """How the files are cut and read."""
    columns = ("url", "sha256") if recipe.verify_hash else ("url",)
    optional = ("uid", *_CAPTIONS, *(("face_bboxes",) if recipe.blur_faces else ()))
    return SourceReader("metadata", _no_draft, (".parquet",), is_captions=True, columns=columns, optional=optional)


def row_of(key: str, item: Item) -> MetadataRow:
    """The row that an item of such a file is."""
    if isinstance(item.content, Rejected):
        return MetadataRow(key, fault=(item.content.reason.value, item.content.detail))
    found = item.content
    caption = next((found[name] for name in _CAPTIONS if name in found), None)
    try:
        uid, url, caption = map(_text, (uid_text(found.get("uid")), found["url"], training_text(caption)))
        sha256 = _text(found.get("sha256")) or ""  # no hash is none that any file has
        boxes = _boxes(found["face_bboxes"]) if "face_bboxes" in found else None
    except Rejected as fault:
        return MetadataRow(key, fault=(fault.reason.value, fault.detail))
    except (ValueError, TypeError) as error:
        return MetadataRow(key, fault=(Reason.MALFORMED_ROW.value, str(error)))
    wrong = None if url and is_web_address(url) else (NOT_HTTP, "no http or https address")
    return MetadataRow(key, uid, url, caption, boxes, sha256.lower(), wrong)


def _text(value: Any) -> str | None:
    if value is not None and (not isinstance(value, str) or len(value.encode()) > MAX_TEXT):
        raise ValueError(f"{str(value)[:100]!r} is no text of up to {MAX_TEXT} bytes")
    return value


def _boxes(found: Any) -> list[list[float]]:
    """Boxes that can be blurred. Raises `ValueError` or `TypeError`."""
    boxes = [] if found is None else [[float(number) for number in box] for box in found]
    if len(boxes) > MAX_BOXES:
        raise ValueError(f"face_bboxes: {len(boxes)} of them")
    for box in boxes:
        is_near = all(math.isfinite(number) and -SLACK <= number <= 1 + SLACK for number in box)
        if len(box) != 4 or not is_near or box[0] > box[2] or box[1] > box[3]:
            raise ValueError(f"face_bboxes: {str(box)[:100]} is no x1, y1, x2, y2 in 0 to 1")
    return boxes


def write_urls(folder: Path, rows: list[MetadataRow], recipe: DownloadRecipe) -> dict[str, object]:
    """Writes what img2dataset asks for into the folder; what to tell it of the columns."""
    fields = [pa.field(name, pa.string()) for name in ("uid", "caption", "url")]
    more: dict[str, object] = {"caption_col": "caption", "save_additional_columns": ["uid"]}
    if has_boxes(rows):
        fields.append(pa.field("face_bboxes", _BOXES))
        more["bbox_col"] = "face_bboxes"
    if recipe.verify_hash:
        fields.append(pa.field("sha256", pa.string()))
        more["verify_hash"] = ["sha256", "sha256"]
    columns = {field.name: pa.array([getattr(row, field.name) for row in rows], field.type) for field in fields}
    pq.write_table(pa.table(columns), folder / URLS)
    return more


def has_boxes(rows: list[MetadataRow]) -> bool:
    """Whether faces are to be blurred: all rows of a file have boxes (or an empty list), or none has."""
    return any(row.face_bboxes is not None for row in rows)
