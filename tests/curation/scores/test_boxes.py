"""Figures worked out by hand as fractions, and a slow independent way to the same ones."""

import random
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.scores.bootstrap import Estimate, draw_resamples
from curation.scores.boxes import BoxScores, ClassMatches, compute_iou, match_detections, normalise_label, score_boxes
from schemas.records.box import Box, Detection
from schemas.records.ground_truth import TrueBox

LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
NOWHERE = (0.0, 0.0, 0.01, 0.01)


def found(box: Box, score: float, label: str = "cat") -> Detection:
    return Detection(label, label, box, score)


def cat(box: Box, difficult: bool = False) -> TrueBox:
    return TrueBox("cat", box, difficult)


def matched(
    truth: list[TrueBox], detections: list[Detection], exhaustive: Sequence[str] = ("cat",)
) -> ClassMatches | None:
    return match_detections(truth, detections, set(exhaustive), set(), 0.5).get("cat")


def curve(*hits: bool, objects: int, scores: Sequence[float] | None = None) -> float | None:
    """The average precision of detections of one image, the surest first unless scores are given."""
    scores = scores or [1 - at / 100 for at in range(len(hits))]
    one = ClassMatches(objects, False, tuple(scores), tuple(float(hit) for hit in hits))
    return score_boxes([{"cat": one}], 0.5).total.ap.value


def test_overlap() -> None:
    assert compute_iou(LEFT, LEFT) == 1
    assert compute_iou(LEFT, RIGHT) == 0  # they only touch
    assert compute_iou(LEFT, (0.25, 0.0, 0.75, 1.0)) == pytest.approx(1 / 3)
    assert compute_iou((0.0, 0.0, 1.0, 1.0), (0.25, 0.25, 0.75, 0.75)) == 0.25
    assert compute_iou(LEFT, NOWHERE) == pytest.approx(0.0002)


def test_average_precision_by_hand() -> None:
    assert curve(True, True, objects=2) == 1.0
    assert curve(True, True, objects=4) == 0.5
    assert curve(False, True, objects=1) == 0.5
    assert curve(True, False, True, objects=3) == pytest.approx(1 / 3 * 1 + 1 / 3 * 2 / 3)
    # precision 1/2, 2/3, 3/4 as it goes on: interpolation gives the best from there on
    assert curve(False, True, True, True, objects=3) == 0.75
    # the curve of Everingham and others: 1, 1/2, 2/3, 1/2, 3/5 at recall 1/5, 1/5, 2/5, 2/5, 3/5
    assert curve(True, False, True, False, True, objects=5) == pytest.approx((1 + 2 / 3 + 3 / 5) / 5)
    assert curve(False, False, objects=2) == 0.0
    assert curve(objects=2) == 0.0
    assert curve(False, objects=0) is None


def test_equal_scores_are_let_in_together() -> None:
    assert curve(True, False, objects=1, scores=[0.5, 0.5]) == 0.5
    assert curve(False, True, objects=1, scores=[0.5, 0.5]) == 0.5


def test_each_truth_is_found_once_by_the_surest() -> None:
    near = (0.0, 0.0, 0.5, 0.8)
    assert matched([cat(LEFT)], [found(LEFT, 0.6), found(near, 0.9)]) == ClassMatches(1, False, (0.9, 0.6), (0.8, 0.0))
    # the surest takes the truth that it overlaps most, whichever comes first
    both = [cat(LEFT), cat(near)]
    assert matched(both, [found(near, 0.9), found(LEFT, 0.6)]) == ClassMatches(2, False, (0.9, 0.6), (1.0, 1.0))
    assert matched(both[::-1], [found(near, 0.9), found(LEFT, 0.6)]) == ClassMatches(2, False, (0.9, 0.6), (1.0, 1.0))


def test_the_threshold_belongs_to_a_match() -> None:
    half = (0.0, 0.0, 0.5, 0.5)
    assert matched([cat(LEFT)], [found(half, 0.5)]) == ClassMatches(1, False, (0.5,), (0.5,))
    assert matched([cat(LEFT)], [found((0.0, 0.0, 0.5, 0.49), 0.5)]) == ClassMatches(1, False, (0.5,), (0.0,))


def test_what_nobody_knows_is_left_out() -> None:
    stray = [found(LEFT, 0.9), found(RIGHT, 0.8)]
    assert matched([cat(LEFT)], stray, ["dog"]) == ClassMatches(1, False, (0.9,), (1.0,))
    assert matched([cat(LEFT)], stray, ["cat"]) == ClassMatches(1, False, (0.9, 0.8), (1.0, 0.0))
    assert matched([], stray, ["dog"]) is None
    assert matched([], stray, ["cat"]) == ClassMatches(0, False, (0.9, 0.8), (0.0, 0.0))


def test_difficult_ones_count_for_nothing() -> None:
    hard = [cat(LEFT, difficult=True)]
    assert matched(hard, []) is None
    assert matched(hard, [found(LEFT, 0.9), found(LEFT, 0.8)]) is None
    assert matched(hard, [found(RIGHT, 0.9)]) == ClassMatches(0, False, (0.9,), (0.0,))
    # a truth that has to be found comes first
    assert matched([*hard, cat((0.0, 0.0, 0.5, 0.8))], [found(LEFT, 0.9)]) == ClassMatches(1, False, (0.9,), (0.8,))


def test_classes_do_not_mix() -> None:
    truth = [cat(LEFT), TrueBox("dog", RIGHT)]
    assert match_detections(
        truth, [found(RIGHT, 0.9, "cat"), found(LEFT, 0.9, "dog")], {"cat", "dog"}, {"dog"}, 0.5
    ) == {
        "cat": ClassMatches(1, False, (0.9,), (0.0,)),
        "dog": ClassMatches(1, True, (0.9,), (0.0,)),
    }


def test_figures_of_a_few_images() -> None:
    images = [
        {"cat": ClassMatches(2, True, (0.9, 0.8, 0.1), (0.75, 0.0, 0.5)), "dog": ClassMatches(1, False)},
        {"cat": ClassMatches(2, False, (0.85,), (1.0,))},
        {},
    ]
    scores = score_boxes(images, 0.5)
    first, second, total = *scores.classes, scores.total
    assert (first.label, first.images, first.objects, first.found, first.wrong, first.missed) == ("cat", 2, 4, 3, 1, 1)
    assert (second.label, second.images, second.objects, second.found, second.missed) == ("dog", 1, 1, 0, 1)
    assert (first.precision.value, first.recall.value, first.f1.value) == (3 / 4, 3 / 4, 6 / 8)
    assert first.ap.value == pytest.approx((1 + 1 + 3 / 4) / 4)
    assert first.mean_iou.value == 2.25 / 3
    assert (first.asked, first.recall_asked.value) == (2, 1.0)
    assert (second.precision, second.recall, second.ap) == (Estimate(None), Estimate(0.0), Estimate(0.0))
    assert (total.label, total.images, total.precision.value, total.recall.value) == ("total", 3, 3 / 4, 3 / 5)
    assert total.ap.value == pytest.approx((1 + 1 + 3 / 4) / 8)


def test_nothing_at_all() -> None:
    for scores in (score_boxes([], 0.5), score_boxes([{}, {}], 0.5)):
        assert scores.classes == []
        assert (scores.total.objects, scores.total.recall, scores.total.ap) == (0, Estimate(None), Estimate(None))


def test_spellings() -> None:
    assert normalise_label(" TVMonitor ", {}) == normalise_label("tv", {}) == "television"
    assert normalise_label("Hound", {"hound": "dog"}) == "dog"
    assert normalise_label("settee", {"settee": "sofa"}) == normalise_label("couch", {})


CORNERS = st.integers(0, 5).flatmap(lambda low: st.tuples(st.just(low), st.integers(low + 1, 6)))
CELLS = st.tuples(CORNERS, CORNERS).map(lambda sides: (sides[0][0], sides[1][0], sides[0][1], sides[1][1]))
LABELS = st.sampled_from(["cat", "dog"])
PICTURE = st.tuples(
    st.lists(st.tuples(LABELS, CELLS, st.sampled_from([False, False, True])), max_size=4),
    st.lists(st.tuples(LABELS, CELLS), max_size=5),
    st.sets(LABELS),
)
Cells = tuple[int, int, int, int]
Picture = tuple[list[tuple[str, Cells, bool]], list[tuple[str, Cells, float]], set[str]]


@st.composite
def pictures(draw: st.DrawFn) -> list[Picture]:
    """Boxes of whole cells of a 6 x 6 grid; no two detections have the same score."""
    drawn = draw(st.lists(PICTURE, min_size=1, max_size=4))
    scores = iter(draw(st.permutations([at / 32 for at in range(32)])))
    return [(truth, [(*one, next(scores)) for one in seen], known) for truth, seen, known in drawn]


def evaluated(images: list[Picture], iou: float) -> BoxScores:
    def box(cells: Cells) -> Box:
        return cells[0] / 8, cells[1] / 8, cells[2] / 8, cells[3] / 8  # eighths: exact in binary

    return score_boxes(
        [
            match_detections(
                [TrueBox(label, box(cells), hard) for label, cells, hard in truth],
                [Detection(label, label, box(cells), score) for label, cells, score in seen],
                known,
                set(),
                iou,
            )
            for truth, seen, known in images
        ],
        iou,
    )


def slow_overlap(one: Cells, other: Cells) -> Fraction:
    """By counting cells."""
    first, second = ({(x, y) for x in range(box[0], box[2]) for y in range(box[1], box[3])} for box in (one, other))
    return Fraction(len(first & second), len(first | second))


def slow_outcomes(images: list[Picture], label: str, iou: Fraction) -> list[tuple[float, bool]]:
    """Score and rightness of each detection that counts, over all images at once."""
    seen = sorted(
        ((score, at, cells) for at, image in enumerate(images) for name, cells, score in image[1] if name == label),
        reverse=True,
    )
    taken: set[tuple[int, int]] = set()
    outcomes = []
    for score, at, cells in seen:
        over = [
            (slow_overlap(box, cells), [-side for side in box], -number, hard)
            for number, (name, box, hard) in enumerate(images[at][0])
            if name == label and (at, number) not in taken and slow_overlap(box, cells) >= iou
        ]
        easy = [one for one in over if not one[3]]
        if easy:
            taken.add((at, -max(easy)[2]))
            outcomes.append((score, True))
        elif not over and label in images[at][2]:
            outcomes.append((score, False))
    return outcomes


def slow_average_precision(outcomes: list[tuple[float, bool]], objects: int) -> Fraction:
    """For each object more to be found, the best precision of any threshold that finds so many."""
    area = Fraction(0)
    for wanted in range(1, objects + 1):
        best = Fraction(0)
        for threshold, _ in outcomes:
            kept = [right for score, right in outcomes if score >= threshold]
            if sum(kept) >= wanted:
                best = max(best, Fraction(sum(kept), len(kept)))
        area += best
    return area / objects


def slow_objects(images: list[Picture], label: str) -> int:
    return sum(name == label and not hard for image in images for name, _, hard in image[0])


@given(pictures(), st.sampled_from([Fraction(1, 4), Fraction(1, 2), Fraction(3, 4), Fraction(1)]))
def test_a_slow_way_gives_the_same(images: list[Picture], iou: Fraction) -> None:
    scores = {score.label: score for score in evaluated(images, float(iou)).classes}
    for label in ("cat", "dog"):
        outcomes, objects = slow_outcomes(images, label, iou), slow_objects(images, label)
        if not outcomes and not objects:
            assert label not in scores
            continue
        score = scores[label]
        right = sum(hit for _, hit in outcomes)
        assert (score.found, score.wrong, score.objects) == (right, len(outcomes) - right, objects)
        if objects:
            assert score.ap.value == pytest.approx(float(slow_average_precision(outcomes, objects)), abs=1e-12)
        else:
            assert score.ap == Estimate(None)


@given(pictures(), st.randoms(use_true_random=False))
def test_no_order_is_of_consequence(images: list[Picture], shuffle: random.Random) -> None:
    """Sums of fractions may differ in the last digit; the intervals change, since other images are drawn."""
    changed = [
        (shuffle.sample(truth, len(truth)), shuffle.sample(seen, len(seen)), known) for truth, seen, known in images
    ]
    shuffle.shuffle(changed)
    for one, other in zip(evaluated(images, 0.5).classes, evaluated(changed, 0.5).classes, strict=True):
        assert (one.label, one.images, one.objects) == (other.label, other.images, other.objects)
        assert (one.found, one.wrong, one.missed) == (other.found, other.wrong, other.missed)
        assert one.ap.value == pytest.approx(other.ap.value, abs=1e-12)
        assert one.mean_iou.value == pytest.approx(other.mean_iou.value, abs=1e-12)


def test_boxes_that_overlap_alike_are_taken_in_one_order() -> None:
    """The first detection overlaps two boxes by a half; the second can only have the lower one."""
    upper, lower, both = (0, 0, 4, 2), (0, 2, 4, 4), (0, 0, 4, 4)
    seen: list[tuple[str, Cells, float]] = [("cat", both, 0.9), ("cat", lower, 0.8)]
    for boxes in ([upper, lower], [lower, upper]):
        (score,) = evaluated([([("cat", box, False) for box in boxes], seen, set())], 0.5).classes
        assert (score.found, score.wrong, score.missed) == (2, 0, 0)


def test_intervals_are_those_of_images_repeated() -> None:
    """Each draw taken at its word: images put in a list as often as drawn, and everything worked out anew."""
    chance = random.Random(3)
    images: list[Picture] = [
        (
            [("cat", (0, 0, 2, 2), False), ("cat", (3, 0, 5, 2), False)],
            [("cat", chance.choice([(0, 0, 2, 2), (3, 0, 5, 2), (0, 3, 2, 5)]), chance.random()) for _ in range(2)],
            {"cat"},
        )
        for _ in range(6)
    ]
    found, wrong, curves = [], [], []
    for times in draw_resamples(len(images))[1:]:
        repeated = [image for image, count in zip(images, times, strict=True) for _ in range(int(count))]
        outcomes = slow_outcomes(repeated, "cat", Fraction(1, 2))
        found.append(sum(hit for _, hit in outcomes))
        wrong.append(len(outcomes) - found[-1])
        curves.append(float(slow_average_precision(outcomes, 12)))
    score = evaluated(images, 0.5).total
    for estimate, values in (
        (score.precision, np.array(found) / (np.array(found) + np.array(wrong))),
        (score.recall, np.array(found) / 12),
        (score.ap, np.array(curves)),
    ):
        assert (estimate.low, estimate.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])), abs=1e-12)
        assert estimate.low != estimate.high
