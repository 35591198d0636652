"""Defines the evidence that captions are checked against, and collects it from a row of an annotation set."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from schemas.records.box import BOXES_COLUMN
from schemas.records.tag import TAGS_COLUMN
from schemas.records.text_line import OCR_COLUMN

EVIDENCE_COLUMNS = ("caption", OCR_COLUMN.name, TAGS_COLUMN.name, BOXES_COLUMN.name)
"""The columns of an annotation set that are read; it need not have the last three."""


@dataclass(frozen=True, slots=True)
class FoundBox:
    """Holds what a detector says of a box: the name that it was asked for, and all words that it recognised there."""

    label: str
    phrase: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """Holds what is known of an image. None means that the engine did not run, or failed on the image.

    The detector is asked for the names of all tags of the image, so these say what it was asked for.
    """

    lines: tuple[str, ...] | None = None  # of text, in reading order
    boxes: tuple[FoundBox, ...] | None = None
    asked: frozenset[str] | None = None  # the names that the detector was asked for
    seen: frozenset[str] = frozenset()  # the names of tags that an engine recognised in the picture itself
    alt_text: str = ""  # empty where the alt text itself is checked


def collect_evidence(row: Mapping[str, Any], with_alt_text: bool = True) -> Evidence:
    """Collects the evidence in a row of an annotation set. `with_alt_text` is False to check the alt text itself."""
    lines, tags, boxes = (row.get(name) for name in EVIDENCE_COLUMNS[1:])
    return Evidence(
        lines=None if lines is None else tuple(line["text"] for line in lines),
        boxes=None if boxes is None else tuple(FoundBox(box["label"], box["phrase"]) for box in boxes),
        asked=None if tags is None else frozenset(tag["name"] for tag in tags),
        seen=frozenset(tag["name"] for tag in tags or () if tag["source"] == "image"),
        alt_text=(row.get("caption") or "") if with_alt_text else "",
    )
