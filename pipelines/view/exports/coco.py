"""Exports the boxes and text lines of an annotation set as COCO's JSON, which labelling and evaluation tools read.

Source of the layout: https://cocodataset.org/#format-data. A box has its label as category, and a `score` as in COCO's
results. A line of text is of the category `text`, with its outline as `segmentation` and, as in COCO-Text, its text as
`utf8_string`. Ids count from 1 in the order of the set; `file_name` is SHARD/KEY, because a tar holds the file.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from pipelines.view.exports.rows import iterate_tables, open_annotations
from pipelines.view.options import ViewOptions
from pipelines.view.source import SetSource
from schemas.errors import UsageError
from schemas.masking import mask_secrets
from schemas.records.box import BOXES_COLUMN
from schemas.records.text_line import OCR_COLUMN
from schemas.storage.folder import split_path
from schemas.storage.row_objects import iterate_rows

TEXT = "text"
ENDING = ".json"

Row = Mapping[str, Any]


@dataclass(slots=True)
class CocoTotals:
    """Counts what an export holds."""

    export: str  # its path
    images: int = 0
    annotations: int = 0
    categories: dict[str, int] = field(default_factory=dict)
    """The id of each category, in the order in which they first come."""

    def find_category(self, name: str) -> int:
        """Returns the id of a category."""
        return self.categories.setdefault(name, len(self.categories) + 1)

    def to_dict(self) -> dict[str, Any]:
        """Returns the counts as plain data."""
        counts = {"images": self.images, "annotations": self.annotations, "categories": len(self.categories)}
        return {"export": self.export} | counts


def write_coco(output_set: str, path: str, options: ViewOptions | None = None) -> CocoTotals:
    """Writes all rows of an annotation set that the options choose; a sample only if they name its size.

    Raises `UsageError` for another set, and for one without boxes and lines.
    """
    options = options or ViewOptions()
    if not path.endswith(ENDING):
        raise UsageError(f"--output {path}: an export in COCO's layout is a file that ends with {ENDING}")
    source = open_annotations(output_set)
    totals = CocoTotals(path)
    place, name = split_path(path)
    with place.create(name) as file:
        file.write(b'{"info": ' + _encode({"description": mask_secrets(source.folder.url)}) + b',\n"images": [')
        for shard, row in _iterate_rows(source, options):
            totals.images += 1
            _write_item(file, totals.images, _describe_image(totals.images, shard, row))
        file.write(b'],\n"annotations": [')
        for image, (_, row) in enumerate(_iterate_rows(source, options), 1):
            for found in _describe_row(row, image, totals):
                _write_item(file, found["id"], found)
        categories = [{"id": number, "name": name} for name, number in totals.categories.items()]
        file.write(b'],\n"categories": ' + _encode(categories) + b"}\n")
    return totals


def _iterate_rows(source: SetSource, options: ViewOptions) -> Iterator[tuple[str, Row]]:
    """Yields the chosen rows with their shards, in the order of the set."""
    for name, table in iterate_tables(source, options):
        if not {BOXES_COLUMN.name, OCR_COLUMN.name} & set(table.schema.names):
            raise UsageError(f"{source.folder.url} has neither boxes nor lines of text: annotate ocr,tags,boxes first")
        for row in iterate_rows(table):
            yield name, row


def _describe_image(number: int, shard: str, row: Row) -> dict[str, Any]:
    size = {"width": row["width"], "height": row["height"]}
    return (
        {"id": number, "file_name": f"{shard}/{row['key']}"} | size | ({"coco_url": row["url"]} if row["url"] else {})
    )


def _describe_row(row: Row, image: int, totals: CocoTotals) -> Iterator[dict[str, Any]]:
    """Yields the annotations of a row: its boxes, then its lines."""
    size = (row["width"], row["height"])
    for box in row.get(BOXES_COLUMN.name) or ():
        yield _describe_item(box, box["label"], box["score"], size, image, totals)
    for line in row.get(OCR_COLUMN.name) or ():
        outline = [round(value * size[place % 2], 2) for place, value in enumerate(line["polygon"])]
        more = {"segmentation": [outline], "utf8_string": line["text"]}
        yield _describe_item(line, TEXT, line["confidence"], size, image, totals) | more


def _describe_item(
    item: Row, category: str, score: float, size: tuple[int, int], image: int, totals: CocoTotals
) -> dict[str, Any]:
    """Returns what a box and a line have in common. COCO's boxes are x, y, width and height in pixels."""
    totals.annotations += 1
    x1, x2 = (item[side] * size[0] for side in ("x1", "x2"))
    y1, y2 = (item[side] * size[1] for side in ("y1", "y2"))
    return {
        "id": totals.annotations,
        "image_id": image,
        "category_id": totals.find_category(category),
        "bbox": [round(value, 2) for value in (x1, y1, x2 - x1, y2 - y1)],
        "area": round((x2 - x1) * (y2 - y1), 2),
        "iscrowd": 0,
        "score": round(score, 4),
    }


def _write_item(file: BinaryIO, number: int, item: Row) -> None:
    file.write((b",\n" if number > 1 else b"\n") + _encode(item))


def _encode(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
