"""Boxes beside a ground truth: what was found, what was missed, and what is not there."""

from typing import Any

from pipelines.view.truth.boxes import compare_boxes
from schemas.records.ground_truth import BoxTruth

ENTRY = {"file": "a.jpg", "width": 100, "height": 200}


def thing(label: str, *box: float, **more: Any) -> dict[str, Any]:
    return {"label": label, "bbox_xyxy": box} | more


def item(label: str, x1: float, y1: float, x2: float, y2: float, score: float) -> dict[str, Any]:
    return {"label": label, "phrase": label, "x1": x1, "y1": y1, "x2": x2, "y2": y2, "score": score}


def test_found_missed_and_false() -> None:
    objects = [thing("tvmonitor", 10, 20, 50, 100), thing("dog", 60, 20, 90, 80), thing("cat", 0, 0, 10, 10)]
    entry = BoxTruth.model_validate({**ENTRY, "objects": objects, "exhaustive_for": ["tvmonitor", "dog"]}, strict=False)
    items = [
        item("TV", 0.1, 0.1, 0.5, 0.5, 0.9),
        item("television", 0.12, 0.1, 0.5, 0.5, 0.8),  # the truth has no second one
        item("dog", 0.0, 0.0, 0.1, 0.1, 0.7),
        item("bird", 0.0, 0.0, 0.1, 0.1, 0.6),  # of which the truth says nothing
    ]
    found = compare_boxes(entry, items)
    assert found.names == ("tvmonitor", "dog", "cat")
    assert found.outcomes == ("found", "missed", "missed")
    assert found.false_alarms == {1: "0.80", 2: "0.70"}
    assert [(shape.layer, shape.status, shape.label) for shape in found.shapes] == [
        ("truth", "", "truth: tvmonitor"),
        ("truth", "missed", "truth: dog"),
        ("truth", "missed", "truth: cat"),
    ]
    assert found.shapes[1].points == (0.6, 0.1, 0.9, 0.1, 0.9, 0.4, 0.6, 0.4)


def test_difficult_objects_may_be_found_or_not() -> None:
    objects = [thing("dog", 10, 20, 50, 100, difficult=True), thing("dog", 60, 20, 90, 80, difficult=True)]
    entry = BoxTruth.model_validate({**ENTRY, "objects": objects, "exhaustive_for": ["dog"]}, strict=False)
    found = compare_boxes(entry, [item("dog", 0.1, 0.1, 0.5, 0.5, 0.9)])
    assert (found.outcomes, found.false_alarms) == (("found", "not asked for"), {})
