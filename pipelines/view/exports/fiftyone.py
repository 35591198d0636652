"""Exports an annotation set with its images as a folder that FiftyOne loads as `fiftyone.types.FiftyOneDataset`.

The layout is the one without a `version` in `metadata.json`, which needs no ids of FiftyOne's database: the importer of
that type leaves it to `LegacyFiftyOneDatasetImporter` (`fiftyone/utils/data/importers.py`). `samples.json` has a
document for each sample, whose labels name their class as `_cls`, and `data/` has the images. A box is x, y, width and
height, and an outline a list of points, all from 0 to 1.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

import pyarrow as pa

from pipelines.view.exports.rows import iterate_tables, open_annotations
from pipelines.view.image_shards import ImageShards
from pipelines.view.options import ViewOptions
from pipelines.view.parquet_files import list_tars
from schemas.errors import UsageError
from schemas.masking import mask_secrets
from schemas.records.box import BOXES_COLUMN
from schemas.records.model_caption import CAPTIONS_COLUMN
from schemas.records.tag import TAGS_COLUMN
from schemas.records.text_line import OCR_COLUMN
from schemas.storage.folder import Folder
from schemas.storage.row_objects import iterate_rows

SAMPLES, METADATA, DATA = "samples.json", "metadata.json", "data"

Row = Mapping[str, Any]


@dataclass(slots=True)
class FiftyOneTotals:
    """Counts what an export holds."""

    export: str  # its folder
    samples: int = 0
    boxes: int = 0
    lines: int = 0
    without_image: int = 0  # rows that are left out: their image was not found, or has changed

    def to_dict(self) -> dict[str, Any]:
        """Returns the counts as plain data."""
        return asdict(self)


def write_fiftyone(output_set: str, path: str, options: ViewOptions | None = None) -> FiftyOneTotals:
    """Writes the rows that the options choose, with their images: all, unless the options name a sample's size.

    Raises `UsageError` for another set, and for a folder that holds something.
    """
    options = options or ViewOptions()
    source, target = open_annotations(output_set), Folder(path)
    target.check_output()
    if not target.is_empty():
        raise UsageError(f"--output {path}: it is not empty: pass a new folder")
    images = ImageShards(source.folder, options.images)
    totals = FiftyOneTotals(path)
    with target.create(SAMPLES) as file:
        file.write(b'{"samples": [')
        for name, table in iterate_tables(source, options):
            hashes = dict(zip(table["key"].to_pylist(), table["sha256"].to_pylist(), strict=True))
            found: dict[str, tuple[str, int]] = {}
            for key, ending, data in images.iterate(list_tars(source.manifests[name]), name, set(hashes)):
                if hashlib.sha256(data).hexdigest() == hashes[key]:
                    found[key] = (f"{DATA}/{_encode_name(name)}/{_encode_name(key)}.{ending}", len(data))
                    target.write(found[key][0], data)
            _write_samples(file, name, table, found, totals)
        file.write(b"\n]}\n")
    if not totals.samples:
        reason = next(iter(images.notes), "no image was found")
        raise UsageError(f"{source.folder.url}: nothing can be exported: {reason}")
    about = {"media_type": "image", "info": {"description": mask_secrets(source.folder.url)}}
    target.write(METADATA, _encode(about))
    return totals


def _write_samples(
    file: BinaryIO, shard: str, table: pa.Table, found: Mapping[str, tuple[str, int]], totals: FiftyOneTotals
) -> None:
    """Writes a document for each row whose image was found."""
    for row in iterate_rows(table):
        if row["key"] not in found:
            totals.without_image += 1
            continue
        place, size = found[row["key"]]
        file.write((b",\n" if totals.samples else b"\n") + _encode(_describe_row(row, shard, place, size)))
        totals.samples += 1
        totals.boxes += len(row.get(BOXES_COLUMN.name) or ())
        totals.lines += len(row.get(OCR_COLUMN.name) or ())


def _describe_row(row: Row, shard: str, place: str, size: int) -> dict[str, Any]:
    """Returns a sample's document. `tags` are FiftyOne's own: those of the annotations are `image_tags`."""
    about = {"_cls": "ImageMetadata", "size_bytes": size, "width": row["width"], "height": row["height"]}
    sample = {"filepath": place, "tags": [], "metadata": about, "shard": shard, "key": row["key"]}
    sample |= {name: row[name] for name in ("uid", "url") if row.get(name)}
    if row.get("caption"):
        sample["alt_text"] = row["caption"]
    return sample | dict(_describe_labels(row))


def _describe_labels(row: Row) -> Iterator[tuple[str, Any]]:
    """Yields the fields of what engines have found; none for an engine that did not run, or failed."""
    if (boxes := row.get(BOXES_COLUMN.name)) is not None:
        yield BOXES_COLUMN.name, {"_cls": "Detections", "detections": [_describe_box(box) for box in boxes]}
    if (lines := row.get(OCR_COLUMN.name)) is not None:
        yield OCR_COLUMN.name, {"_cls": "Polylines", "polylines": [_describe_line(line) for line in lines]}
    if (tags := row.get(TAGS_COLUMN.name)) is not None:
        labels = [{"_cls": "Classification", "label": tag["name"], "confidence": tag["score"]} for tag in tags]
        yield "image_tags", {"_cls": "Classifications", "classifications": labels}
    for caption in row.get(CAPTIONS_COLUMN.name) or ():
        yield re.sub(r"\W", "_", f"caption_{caption['name']}"), caption["text"]


def _describe_box(box: Row) -> dict[str, Any]:
    sides = [box["x1"], box["y1"], box["x2"] - box["x1"], box["y2"] - box["y1"]]
    return {"_cls": "Detection", "label": box["label"], "bounding_box": sides, "confidence": box["score"]}


def _describe_line(line: Row) -> dict[str, Any]:
    points = [list(point) for point in zip(line["polygon"][::2], line["polygon"][1::2], strict=True)]
    outline = {"points": [points], "closed": True, "filled": False}
    return {"_cls": "Polyline", "label": line["text"], "confidence": line["confidence"]} | outline


def _encode_name(name: str) -> str:
    """Returns a shard or a key as a name of a file, in which slashes and the like are written out."""
    return re.sub(r"[^\w.-]|^\.+$", lambda found: "".join(f"%{ord(one):02X}" for one in found[0]), name)


def _encode(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
