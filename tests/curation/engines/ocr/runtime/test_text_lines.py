"""Lines from what a detector and a recogniser return."""

import numpy as np
import pytest

from curation.engines.ocr.reading_order import ReadingOrder
from curation.engines.ocr.runtime.text_lines import build_lines, sort_in_reading_order
from schemas.records.text_line import TextLine

SIZE = (800, 400)  # pixels


def build(texts: list[str], places: list[tuple[int, int, int]], order: ReadingOrder) -> list[TextLine]:
    """Lines of 24 pixels at these x, y and widths."""
    corners = [[[x, y], [x + w, y], [x + w, y + 24], [x, y + 24]] for x, y, w in places]
    return build_lines(texts, np.array(corners, np.float64).reshape(-1, 4, 2), [0.9] * len(texts), SIZE, order)


PLACES = [(x, y, 300) for y in range(10, 170, 30) for x in (20, 360)]
"""Two columns, row by row."""


def test_the_order_is_as_asked() -> None:
    texts = [f"{side}{row}" for row in range(6) for side in ("left", "right")]
    columns = [f"{side}{row}" for side in ("left", "right") for row in range(6)]
    assert [line.text for line in build(texts, PLACES, "lines")] == texts
    assert [line.text for line in build(texts, PLACES, "columns")] == columns
    shuffled = [texts[at] for at in (7, 3, 0, 11, 2, 10, 5, 8, 1, 6, 9, 4)]
    places = [PLACES[texts.index(text)] for text in shuffled]
    assert [line.text for line in build(shuffled, places, "columns")] == columns
    assert build(shuffled, places, "lines") == sort_in_reading_order(build(texts, PLACES, "columns"))


@pytest.mark.parametrize(
    ("word", "is_left_alone"), [("مرحبا", True), ("שלום", True), ("привет", False), ("你好", False)]
)
def test_text_from_right_to_left_is_left_alone(word: str, is_left_alone: bool) -> None:
    texts = [f"{word} {n}" for n in range(12)]
    rows, columns = build(texts, PLACES, "lines"), build(texts, PLACES, "columns")
    assert (columns == rows) is is_left_alone


@pytest.mark.parametrize("order", ["columns", "lines"])
def test_lines_without_text_or_area_are_left_out(order: ReadingOrder) -> None:
    assert build([], [], order) == []
    [line] = build(["", " one ", "flat", "outside"], [(0, 0, 90), (40, 40, 80), (0, 90, 0), (900, 0, 50)], order)
    assert line == TextLine("one", (0.05, 0.1, 0.15, 0.1, 0.15, 0.16, 0.05, 0.16), (0.05, 0.1, 0.15, 0.16), 0.9)
