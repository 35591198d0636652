"""Boxes whose overlaps are known by hand."""

import random

import pytest

from curation.engines.boxes.suppression import apply_nms, compute_ious, keep_well_formed, sort_detections
from schemas.records.box import Box, Detection


def found(box: Box, score: float = 0.5, label: str = "cat") -> Detection:
    return Detection(label, label, box, score)


def test_overlaps() -> None:
    box = (0.0, 0.0, 0.5, 0.5)
    others = [box, (0.25, 0.0, 0.75, 0.5), (0.5, 0.5, 1.0, 1.0), (0.0, 0.0, 1.0, 1.0), (0.125, 0.125, 0.375, 0.375)]
    assert compute_ious(box, others).tolist() == [1.0, 1 / 3, 0.0, 0.25, 0.25]
    assert compute_ious(box, []).tolist() == []


def test_a_box_is_suppressed_by_a_surer_one_of_its_label_only() -> None:
    sure, near, far = found((0, 0, 0.5, 0.5), 0.9), found((0, 0, 0.5, 0.4), 0.8), found((0.5, 0.5, 1, 1), 0.3)
    other = found((0, 0, 0.5, 0.5), 0.7, "dog")
    assert apply_nms([far, other, near, sure], 0.5) == [sure, other, far]
    assert apply_nms([far, other, near, sure], 0.8) == [sure, near, other, far], "above, not at, the limit"
    assert apply_nms([], 0.5) == []


def test_what_is_suppressed_suppresses_nothing() -> None:
    first, second, third = (found((x, 0, x + 0.4, 1), score) for x, score in ((0, 0.9), (0.125, 0.8), (0.25, 0.7)))
    assert apply_nms([first, second, third], 0.5) == [first, third]


def test_one_is_no_suppression() -> None:
    twice = [found((0, 0, 1, 1)), found((0, 0, 1, 1))]
    assert apply_nms(twice, 1.0) == twice


@pytest.mark.parametrize(
    ("box", "stays"),
    [
        ((0.1, 0.1, 0.2, 0.2), True),
        ((0.2, 0.1, 0.1, 0.2), False),
        ((0.1, 0.1, 0.1, 0.9), False),
        ((0.1, 0.1, 0.14, 0.9), False),
        ((0.0, 0.0, 1.0, 0.75), True),
        ((0.0, 0.0, 1.0, 0.8), False),
    ],
)
def test_well_formed(box: Box, stays: bool) -> None:
    assert keep_well_formed([found(box)], min_side=0.05, max_area=0.75) == [found(box)] * stays


def test_a_box_without_area_never_stays() -> None:
    assert keep_well_formed([found((0.1, 0.1, 0.1, 0.9))], min_side=0.0, max_area=1.0) == []
    assert len(keep_well_formed([found((0, 0, 1, 1))], min_side=0.0, max_area=1.0)) == 1


def test_order_does_not_depend_on_that_of_the_input() -> None:
    boxes = [found((0, 0, 0.1 * n, 1), score, label) for n in (1, 5, 9) for score in (0.5, 0.25) for label in "ab"]
    expected = sort_detections(boxes)
    assert [(one.score, one.label, one.box[2]) for one in expected[:4]] == [
        (0.5, "a", 0.1),
        (0.5, "a", 0.5),
        (0.5, "a", 0.9),
        (0.5, "b", 0.1),
    ]
    for seed in range(20):
        shuffled = random.Random(seed).sample(boxes, len(boxes))
        assert sort_detections(shuffled) == expected
        assert apply_nms(shuffled, 0.3) == apply_nms(boxes, 0.3)
