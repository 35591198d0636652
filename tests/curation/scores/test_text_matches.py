"""Which lines of a truth were read, and which lines of a reading the truth does not have."""

from typing import Any

import pytest

from curation.scores.text_matches import TextMatches, match_texts
from schemas.records.box import Box
from schemas.records.ground_truth import TextTruth
from schemas.records.text_line import TextLine


def read(text: str, box: Box = (0.0, 0.0, 0.1, 0.1)) -> TextLine:
    x1, y1, x2, y2 = box
    return TextLine(text, (x1, y1, x2, y1, x2, y2, x1, y2), box, 0.9)


def truth(items: list[dict[str, Any]], **more: Any) -> TextTruth:
    values = {"file": "a.jpg", "width": 100, "height": 100, "complete": True, "items": items}
    return TextTruth.model_validate(values | more, strict=False)


def texts(*words: str) -> list[dict[str, Any]]:
    return [{"text": text} for text in words]


@pytest.mark.parametrize(
    ("items", "lines", "missed", "invented"),
    [
        (["a b", "c"], ["c a b"], ("", ""), ("",)),
        (["a b"], ["a"], ("b",), ("",)),
        (["a"], ["a", "a"], ("",), ("", "a")),  # each word of the truth counts once
        (["a", "a"], ["a"], ("", "a"), ("",)),
        (["A"], ["a"], ("A",), ("a",)),
        ([], ["x y"], (), ("x y",)),
        (["x"], [], ("x",), ()),
    ],
)
def test_words(items: list[str], lines: list[str], missed: tuple[str, ...], invented: tuple[str, ...]) -> None:
    assert match_texts(truth(texts(*items)), [read(line) for line in lines]) == TextMatches(missed, invented)


def test_case_may_be_ignored() -> None:
    assert match_texts(truth(texts("A"), case_insensitive=True), [read("a")]) == TextMatches(("",), ("",))


def test_a_truth_that_is_not_complete_says_nothing_of_other_lines() -> None:
    assert match_texts(truth(texts("a"), complete=False), [read("b")]) == TextMatches(("a",), ("",))


def test_illegible_text_may_be_read_or_not() -> None:
    items = [{"text": "blur", "bbox": [0, 0, 20, 20], "ignore": True}]
    assert match_texts(truth(items), [read("xyz")]) == TextMatches((None,), ("",))


def test_places_without_text() -> None:
    items = [
        {"text": None, "bbox": [0, 0, 10, 10]},
        {"text": None, "bbox": [50, 50, 60, 60]},
        {"text": None, "bbox": [80, 80, 90, 90], "ignore": True},
    ]
    lines = [read("a"), read("b", (0.3, 0.3, 0.4, 0.4)), read("c", (0.8, 0.8, 0.9, 0.9))]
    found = match_texts(truth(items, boxes_only=True), lines)
    assert found == TextMatches(("", "no line", None), ("", "no text there", ""))
    assert match_texts(truth(items, boxes_only=True, complete=False), lines).invented == ("", "", "")
