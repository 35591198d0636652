"""COCO's AP against pycocotools itself, on cases worked by hand, and with the two rules that are not COCO's."""

import random

import numpy as np
import pytest

from curation.scores.bootstrap import UNKNOWN, draw_resamples
from curation.scores.boxes import match_detections, score_boxes
from curation.scores.coco import CocoImage, _collect, _compute_average_precision, _evaluate, add_coco_scores, score_coco
from schemas.records.box import Box, Detection
from schemas.records.ground_truth import TrueBox

ALL = frozenset(("cat", "dog", "cup"))
WHOLE, LEFT, RIGHT = (0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)


def found(label: str, box: Box, score: float) -> Detection:
    return Detection(label, label, box, score)


def image(truth: list[TrueBox], detections: list[Detection], exhaustive: frozenset[str] = ALL) -> CocoImage:
    return CocoImage(truth, detections, exhaustive)


def draw_images(seed: int, count: int, digits: int = 1) -> list[CocoImage]:
    """Images of moved, missed and invented boxes, with scores of few digits, of which many are equal."""
    rng = random.Random(seed)
    images = []
    for _ in range(count):
        truth, detections = [], []
        for _ in range(rng.randint(0, 5)):
            label, x, y, side = (
                rng.choice(sorted(ALL)),
                rng.random() * 0.7,
                rng.random() * 0.7,
                0.1 + rng.random() * 0.2,
            )
            truth.append(TrueBox(label, (x, y, x + side, y + side)))
            if rng.random() < 0.8:
                move = rng.random() * 0.04
                box = (x + move, y, x + side + move, y + side)
                detections.append(found(label, box, round(rng.random(), digits)))
        for _ in range(rng.randint(0, 2)):
            detections.append(found(rng.choice(sorted(ALL)), (0.8, 0.8, 0.9, 0.9), round(rng.random(), digits)))
        images.append(image(truth, detections))
    return images


def test_the_thresholds_are_cocos() -> None:
    """An IoU of 0.8 is right at 0.5 to 0.8: seven of ten thresholds."""
    moved = (0.0, 0.0, 0.8, 1.0)
    scores = score_coco([image([TrueBox("cat", WHOLE)], [found("cat", moved, 0.5)])])
    assert scores["cat"].value == scores["total"].value == pytest.approx(0.7)


def test_precision_is_interpolated_at_101_recalls() -> None:
    """Right, wrong, right, of three: 34 recalls at 1, 33 at 2/3, and 34 that are not reached."""
    truth = [TrueBox("cat", LEFT), TrueBox("cat", RIGHT), TrueBox("cat", (0.2, 0.2, 0.3, 0.3))]
    detections = [found("cat", LEFT, 0.9), found("cat", (0.6, 0.6, 0.7, 0.7), 0.8), found("cat", RIGHT, 0.7)]
    assert score_coco([image(truth, detections)])["cat"].value == pytest.approx((34 + 33 * 2 / 3) / 101)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_sample_of_the_draws_is_pycocotools_own_value(seed: int) -> None:
    images = draw_images(seed, 12)
    labels = sorted(ALL)
    evaluation = _evaluate(images, labels)
    once = draw_resamples(len(images))[:1]
    for number, label in enumerate(labels):
        curve = _compute_average_precision(_collect(evaluation, number, 12), once, evaluation.params.recThrs)
        assert curve[0] == pytest.approx(evaluation.eval["precision"][:, :, number].mean(), abs=1e-12), label
        assert score_coco(images)[label].value == pytest.approx(curve[0], abs=1e-12)


def test_intervals_are_those_of_repeated_evaluations() -> None:
    """Each draw's value is what pycocotools gives where an image is there as often as it was drawn."""
    images = draw_images(4, 6, digits=9)  # in one image, equal scores of several copies come in another order
    drawn = draw_resamples(len(images))[1:4]
    labels = sorted(ALL)
    evaluation = _evaluate(images, labels)
    curves = [
        _compute_average_precision(_collect(evaluation, number, 6), drawn, evaluation.params.recThrs)
        for number in range(len(labels))
    ]
    for at, times in enumerate(drawn):
        repeated = [one for one, count in zip(images, times, strict=True) for _ in range(int(count))]
        again = score_coco(repeated)
        for label, curve in zip(labels, curves, strict=True):
            assert (again[label].value if label in again else None) == (
                None if np.isnan(curve[at]) else pytest.approx(curve[at], abs=1e-12)
            )


def test_what_is_not_exhaustive_or_difficult_costs_nothing() -> None:
    right = [found("cat", LEFT, 0.5)]
    wrong = [found("cat", RIGHT, 0.9), *right]
    truth = [TrueBox("cat", LEFT)]
    assert score_coco([image(truth, wrong)])["cat"].value == pytest.approx(0.5)
    assert score_coco([image(truth, wrong, frozenset())])["cat"].value == pytest.approx(1.0)
    hidden = [*truth, TrueBox("cat", RIGHT, difficult=True)]
    assert score_coco([image(hidden, wrong)])["cat"].value == pytest.approx(1.0)
    assert score_coco([image(hidden, right)])["cat"].value == pytest.approx(1.0)


def test_classes_without_an_object_or_a_detection() -> None:
    assert score_coco([]) == {"total": UNKNOWN}
    scores = score_coco([image([TrueBox("dog", LEFT)], [found("cat", LEFT, 0.5)])])
    assert scores["cat"] == UNKNOWN
    assert (scores["dog"].value, scores["total"].value) == (0.0, 0.0)


def test_the_scores_are_beside_todays(monkeypatch: pytest.MonkeyPatch) -> None:
    images = draw_images(5, 8)
    matches = [match_detections(one.truth, one.found, ALL, frozenset(), 0.5) for one in images]
    scores = score_boxes(matches, 0.5)
    added = add_coco_scores(scores, images)
    expected = score_coco(images)
    assert {one.label: one.coco_ap for one in added.classes} | {"total": added.total.coco_ap} == expected
    assert added.total.ap == scores.total.ap
    assert scores.total.coco_ap == UNKNOWN
    monkeypatch.setattr("curation.scores.coco.find_spec", lambda _: None)
    assert add_coco_scores(scores, images) is scores
