"""Reads the `metadata` of captions: the lines or boxes that they were made from, as annotation columns hold them."""

import math
from typing import Any

from pipelines.view.columns.boxes import outline
from pipelines.view.page import Shape
from pipelines.view.printed_items import Item
from schemas.layouts import blip3_grounding, blip3_ocr
from schemas.records.box import BOXES_COLUMN, Box
from schemas.records.text_line import OCR_COLUMN

LAYERS = {"ocr": OCR_COLUMN.name, "grounding": BOXES_COLUMN.name}
"""The annotation column of each family whose captions have such metadata."""


def read_entries(metadata: str) -> tuple[str, list[tuple[Item, Shape]]]:
    """Returns the family of the captions and its items with their shapes; an empty name for any other metadata.

    Entries without a place, as third-party files have them, are left out, also those whose place is NaN or infinite.
    """
    for family, parse in (("ocr", _parse_lines), ("grounding", _parse_boxes)):
        try:
            found = parse(metadata)
        except ValueError:
            continue
        items = [
            (text, box, score if score is not None and math.isfinite(score) else 0.0)
            for text, box, score in found
            if box is not None and all(map(math.isfinite, box))
        ]
        return family, [(_make_item(family, *one), _make_shape(family, n, *one)) for n, one in enumerate(items)]
    return "", []


def _parse_lines(metadata: str) -> list[tuple[str, Box | None, float | None]]:
    return [(entry.text, entry.box, entry.confidence) for entry in blip3_ocr.parse_metadata(metadata)]


def _parse_boxes(metadata: str) -> list[tuple[str, Box | None, float | None]]:
    return [(entry.category, entry.box, entry.confidence) for entry in blip3_grounding.parse_metadata(metadata)]


def _make_shape(family: str, number: int, text: str, box: Box, score: float) -> Shape:
    return Shape(number, LAYERS[family], outline(*box), text, score, is_labelled=family == "grounding")


def _make_item(family: str, text: str, box: Box, score: float) -> Item:
    corners: dict[str, Any] = dict(zip(("x1", "y1", "x2", "y2"), box, strict=True))
    if family == "ocr":
        return corners | {"text": text, "polygon": outline(*box), "confidence": score}
    return corners | {"label": text, "phrase": text, "score": score}
