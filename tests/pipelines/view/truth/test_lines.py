"""Lines beside a ground truth of text: what was read, what was missed, and what is not there."""

from typing import Any

from pipelines.view.truth.lines import compare_lines
from schemas.records.ground_truth import TextTruth
from schemas.records.text_line import line_to_arrow
from tests.pipelines.support.sets import line


def entry(items: list[dict[str, Any]], **more: Any) -> TextTruth:
    values = {"file": "a.jpg", "width": 100, "height": 200, "complete": True, "items": items}
    return TextTruth.model_validate(values | more, strict=False)


def test_words_are_told_of() -> None:
    items = [
        {"text": "WINTER SALE", "bbox": [10, 20, 50, 100]},
        {"text": "half price", "bbox": None},
        {"text": "smudge", "bbox": [0, 0, 5, 5], "ignore": True},
    ]
    found = compare_lines(entry(items), [line_to_arrow(line(text)) for text in ("WINTER SAIE", "half price")])
    assert found.names == ("WINTER SALE", "half price", "smudge")
    assert found.outcomes == ("missed", "found", "not asked for")
    assert found.notes == ("not read: SALE", "", "")
    assert found.false_alarms == {0: "SAIE"}
    assert found.drawn == (0, 2)
    assert [(shape.label, shape.status) for shape in found.shapes] == [
        ("truth: WINTER SALE", "missed"),
        ("truth: smudge", ""),
    ]
    assert found.shapes[0].points == (0.1, 0.1, 0.5, 0.1, 0.5, 0.5, 0.1, 0.5)
