"""Compares the lines of a row with a ground truth of text, word by word, as `evaluate ocr` does."""

from collections.abc import Mapping, Sequence
from typing import Any

from curation.scores.text_matches import match_texts
from pipelines.view.columns.boxes import outline
from pipelines.view.page import Shape
from pipelines.view.truth.comparison import FOUND, LAYER, MISSED, NOT_ASKED, Comparison
from schemas.records.ground_truth import TextTruth
from schemas.records.text_line import TextLine


def compare_lines(entry: TextTruth, items: Sequence[Mapping[str, Any]]) -> Comparison:
    """Returns which texts were read whole, and which lines have words that the truth lacks, if it is complete."""
    found = match_texts(entry, [_parse_item(item) for item in items])
    outcomes = [NOT_ASKED if missed is None else MISSED if missed else FOUND for missed in found.missed]
    shapes, drawn = [], []
    for at, ((item, box), outcome) in enumerate(zip(entry.placed_items, outcomes, strict=True)):
        if box is not None:
            status = MISSED if outcome == MISSED else ""
            shapes.append(Shape(0, LAYER, outline(*box), f"truth: {item.text or 'text'}", status=status))
            drawn.append(at)
    return Comparison(
        names=tuple(item.text or "text" for item in entry.items),
        outcomes=tuple(outcomes),
        notes=tuple(f"not read: {missed}" if missed else "" for missed in found.missed),
        shapes=tuple(shapes),
        drawn=tuple(drawn),
        false_alarms={at: note for at, note in enumerate(found.invented) if note},
    )


def _parse_item(item: Mapping[str, Any]) -> TextLine:
    box = (item["x1"], item["y1"], item["x2"], item["y2"])
    return TextLine(item["text"], tuple(item["polygon"]), box, item["confidence"])
