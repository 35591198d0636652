"""A user names spans by their number, or by words of a caption."""

import pytest

from pipelines.explain.choice import choose_spans
from pipelines.explain.origin import CaptionText, Detection, Explanation, SpanOrigin
from schemas.errors import UsageError

FOUND = (Detection("ocr", 0, "cd", 0.5, "ocr"),)
SPANS = [SpanOrigin(0, 2, 4, "cd", FOUND, number=0), SpanOrigin(1, 0, 2, "cd", FOUND, number=1)]
ALL = Explanation("set", "key", [CaptionText("one", "abcdef"), CaptionText("two", "cdab1")], SPANS)


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (None, SPANS),
        ("0", SPANS[:1]),
        ("1", SPANS[1:]),
        ("cd", SPANS),
        ("bc", SPANS[:1]),
        ("de", SPANS[:1]),
        ("cda", SPANS[1:]),
        ("ab", [SpanOrigin(0, 0, 2, "ab"), SpanOrigin(1, 2, 4, "ab")]),  # both touch a span
        ("ef", [SpanOrigin(0, 4, 6, "ef")]),
        ("b1", [SpanOrigin(1, 3, 5, "b1")]),
    ],
)
def test_numbers_and_words(wanted: str | None, chosen: list[SpanOrigin]) -> None:
    assert choose_spans(ALL, wanted).spans == chosen


@pytest.mark.parametrize("wanted", ["2", "x", "CD", "0 ", "-1", "\u0663"])
def test_neither_a_number_nor_words(wanted: str) -> None:
    with pytest.raises(UsageError, match=r"key has 2 spans, and no caption with these words$"):
        choose_spans(ALL, wanted)
