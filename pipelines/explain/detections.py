"""Finds what an engine has found in a row of annotations, for the words of a caption."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from curation.engines.stages import make_caption_stage
from pipelines.explain.origin import Detection, Pixels
from pipelines.view.columns import list_columns
from pipelines.view.page import Shape
from pipelines.view.printed_items import Item
from schemas.records.box import BOXES_COLUMN
from schemas.records.model_caption import CAPTIONS_COLUMN
from schemas.records.tag import TAGS_COLUMN
from schemas.records.text_line import OCR_COLUMN

OCR, BOXES, TAGS, CAPTIONS = OCR_COLUMN.name, BOXES_COLUMN.name, TAGS_COLUMN.name, CAPTIONS_COLUMN.name

SAME_PLACE = 0.005  # of a side, between a corner in annotations and the same in `metadata`, which has four decimals

Row = Mapping[str, Any]


def measure_pixels(outline: Sequence[float], size: tuple[int, int] | None) -> Pixels | None:
    """Returns the pixels around an outline, inside the image; None without an image's size or an outline."""
    if size is None or not outline:
        return None
    left, right = _measure_side(outline[::2], size[0])
    top, bottom = _measure_side(outline[1::2], size[1])
    return left, top, right, bottom


def describe_item(row: Row, column: str, number: int, size: tuple[int, int] | None) -> list[Detection]:
    """Returns item `number` of a column, and for a box also the tag that it was searched by."""
    item = row[column][number]
    if column == CAPTIONS:
        return [Detection(CAPTIONS, number, item["text"], None, make_caption_stage(item["name"]))]
    if column == TAGS:
        return [Detection(TAGS, number, item["name"], item["score"], TAGS)]
    (shape,) = next(view for view in list_columns() if view.column == column).draw([item])
    place = measure_pixels(shape.points, size)
    found = [Detection(column, number, shape.label, shape.score, column, shape.points, place)]
    if column == BOXES:
        names = [tag["name"] for tag in row.get(TAGS) or ()]
        found += describe_item(row, TAGS, names.index(shape.label), size) if shape.label in names else []
    return found


def describe_entry(column: str, shape: Shape, size: tuple[int, int] | None) -> Detection:
    """Returns an item of a published caption, whose annotations are not known."""
    return Detection(column, None, shape.label, shape.score, "", shape.points, measure_pixels(shape.points, size))


def match_entries(entries: Sequence[Item], items: Sequence[Row], field: str) -> list[int | None]:
    """Returns the number of the annotation of each entry of `metadata`: of the same text and place, each at most once.

    Of several, the nearest one counts. None stands for an entry that the annotations do not have.
    """
    free = dict.fromkeys(range(len(items)))
    matched: list[int | None] = []
    for entry in entries:
        alike = [number for number in free if items[number][field] == entry[field]]
        best = min(alike, key=lambda number: _measure_distance(items[number], entry), default=None)
        if best is not None and _measure_distance(items[best], entry) > SAME_PLACE:
            best = None
        if best is not None:
            del free[best]
        matched.append(best)
    return matched


def find_model_caption(row: Row, text: str, *, may_be_cut: bool) -> int | None:
    """Returns the number of the model's caption that a text is or contains.

    If it `may_be_cut`, the text may also be a part of the caption, whose other sentences were dropped.
    """
    captions = row.get(CAPTIONS) or ()
    same = (number for number, one in enumerate(captions) if one["text"] and one["text"] == text)
    inside = (number for number, one in enumerate(captions) if one["text"] and one["text"] in text)
    cleaned = (number for number, one in enumerate(captions) if text and text in one["text"])
    return next(same, next(inside, next(cleaned, None) if may_be_cut else None))


def _measure_side(values: Sequence[float], side: int) -> tuple[int, int]:
    """Returns the first pixel and the end of fractions of a side, inside it and at least one pixel apart."""
    first = min(side - 1, max(0, math.floor(min(values) * side)))
    return first, min(side, max(first + 1, math.ceil(max(values) * side)))


def _measure_distance(item: Row, entry: Item) -> float:
    """Returns the largest difference of two corners."""
    return max(abs(float(item[side]) - float(entry[side])) for side in ("x1", "y1", "x2", "y2"))
