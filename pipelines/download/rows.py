"""Parses rows of DataComp metadata and writes img2dataset's input. It trusts no value in them.

A row that can't be requested does not affect its neighbours. A row with invalid face boxes is not requested either,
since its faces could not be blurred.
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
from schemas.records.document import ParsedCaptionedImage
from schemas.records.quarantine import Reason, Rejected
from schemas.records.training_text import to_training_text
from schemas.records.uid import to_uid
from schemas.web_address import is_web_address

MAX_TEXT = 1 << 17  # bytes of a caption, a URL or a uid: readers accept a .json with all three at this size
MAX_BOXES = 1000  # of one image; img2dataset passes over the pixels once per box
SLACK = 1.0  # image sides by which a box may exceed the image: detectors' boxes do so slightly, hostile ones far more

_CAPTIONS = ("text", "caption")  # in order of preference; `text` is DataComp's
_BOXES = pa.list_(pa.list_(pa.float64()))


@dataclass(frozen=True, slots=True)
class MetadataRow:
    """Holds one row. `fault` has the reason code and the detail if it is not requested, else None."""

    key: str
    uid: str | None = None
    url: str | None = None
    caption: str | None = None
    face_bboxes: list[list[float]] | None = None  # x1, y1, x2, y2 in [0, 1]; None: no column, so nothing is blurred
    sha256: str | None = None  # of the file when DataComp's pool was made
    fault: tuple[str, str] | None = None


def _refuse_to_parse(*_: Any) -> ParsedCaptionedImage:
    raise NotImplementedError  # metadata is downloaded, never ingested


def make_metadata_reader(recipe: DownloadRecipe) -> SourceReader:
    """Makes the reader that cuts the metadata files and reads their columns."""
    columns = ("url", "sha256") if recipe.verify_hash else ("url",)
    optional = ("uid", *_CAPTIONS, *(("face_bboxes",) if recipe.blur_faces else ()))
    return SourceReader(
        "metadata", _refuse_to_parse, (".parquet",), is_captions=True, columns=columns, optional=optional
    )


def parse_row(key: str, item: Item) -> MetadataRow:
    """Parses an item of a metadata file. Never raises: a row that can't be requested has a `fault`."""
    if isinstance(item.content, Rejected):
        return MetadataRow(key, fault=(item.content.reason.value, item.content.detail))
    found = item.content
    caption = next((found[name] for name in _CAPTIONS if name in found), None)
    try:
        uid, url, caption = map(_check_text, (to_uid(found.get("uid")), found["url"], to_training_text(caption)))
        sha256 = _check_text(found.get("sha256")) or ""  # an empty hash matches no file
        boxes = _parse_boxes(found["face_bboxes"]) if "face_bboxes" in found else None
    except Rejected as fault:
        return MetadataRow(key, fault=(fault.reason.value, fault.detail))
    except (ValueError, TypeError) as error:
        return MetadataRow(key, fault=(Reason.MALFORMED_ROW.value, str(error)))
    wrong = None if url and is_web_address(url) else (NOT_HTTP, "no http or https address")
    return MetadataRow(key, uid, url, caption, boxes, sha256.lower(), wrong)


def _check_text(value: Any) -> str | None:
    if value is not None and (not isinstance(value, str) or len(value.encode()) > MAX_TEXT):
        raise ValueError(f"{str(value)[:100]!r} is not text of at most {MAX_TEXT} bytes")
    return value


def _parse_boxes(found: Any) -> list[list[float]]:
    """Checks and returns the boxes to blur. Raises `ValueError` or `TypeError`."""
    boxes = [] if found is None else [[float(number) for number in box] for box in found]
    if len(boxes) > MAX_BOXES:
        raise ValueError(f"face_bboxes: {len(boxes)} of them")
    for box in boxes:
        is_near = all(math.isfinite(number) and -SLACK <= number <= 1 + SLACK for number in box)
        if len(box) != 4 or not is_near or box[0] > box[2] or box[1] > box[3]:
            raise ValueError(f"face_bboxes: {str(box)[:100]} is not x1, y1, x2, y2 from 0 to 1")
    return boxes


def write_urls(folder: Path, rows: list[MetadataRow], recipe: DownloadRecipe) -> dict[str, object]:
    """Writes img2dataset's URL list into the folder. Returns its options for the list's columns."""
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
    """Returns whether faces are blurred: all rows of a file have boxes (or an empty list), or none has."""
    return any(row.face_bboxes is not None for row in rows)
