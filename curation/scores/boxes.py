"""Scores detections: precision, recall, F1 and average precision by class, with 95% confidence intervals.

In each image and class, detections are matched in order of falling score, each with the truth not yet matched that it
overlaps most, if their intersection over union reaches the threshold. Then, following VOC:

- a detection without a match is wrong if the image's truth is exhaustive for its class; otherwise nobody knows, and it
  is left out of all counts;
- a `difficult` truth need not be found; detections that match one, and no other truth, are left out as well.

Average precision is the area under the precision-recall curve, interpolated at all points (VOC from 2010 on), not at
COCO's 101. Detections of one class with equal scores enter the curve together, so their order does not matter. The
average precision is slightly too high for few images, and higher still in draws that repeat some: in simulations, its
interval held the value of the whole population 91 times in 100 for one class in 40 images, and 80 times for the mean of
20 classes, most of them rare, in 80 images.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.scores.bootstrap import UNKNOWN, Estimate, Floats, divide, draw_resamples, estimate
from schemas.records.box import Box, Detection
from schemas.records.ground_truth import TrueBox

SPELLINGS = {  # from VOC's class names to those of COCO and of everyday text, where they differ
    "aeroplane": "airplane",
    "motorbike": "motorcycle",
    "diningtable": "dining table",
    "pottedplant": "potted plant",
    "tvmonitor": "television",
    "tv": "television",
    "sofa": "couch",
}

INTERPOLATION = "all points"
BLOCK = 4_000_000  # numbers in memory at once while curves are computed: 32 MB an array


def normalise_label(label: str, aliases: Mapping[str, str]) -> str:
    """Returns the class of a label: in lower case, then mapped by `aliases` (lower case too), then by `SPELLINGS`."""
    label = label.casefold().strip()
    label = aliases.get(label, label)
    return SPELLINGS.get(label, label)


@dataclass(frozen=True, slots=True)
class ClassMatches:
    """Holds the matches of one class in one image.

    `overlaps[i]` is the intersection over union of detection i with its truth, or 0 if the detection is wrong.
    """

    objects: int
    asked: bool  # whether the detector was asked for the class
    scores: tuple[float, ...] = ()
    overlaps: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class ClassScore:
    """Holds the figures of one class, or of all classes together."""

    label: str
    images: int  # that show it or have a detection of it
    objects: int
    found: int
    wrong: int
    missed: int
    precision: Estimate
    recall: Estimate
    f1: Estimate
    ap: Estimate  # for all classes together: the mean over the classes that have objects
    mean_iou: Estimate  # of the objects found
    asked: int  # objects in images for which the detector was asked for their class
    recall_asked: Estimate  # the recall of these objects
    coco_ap: Estimate = UNKNOWN  # COCO's AP@[.5:.95], which `coco` adds


@dataclass(frozen=True, slots=True)
class BoxScores:
    """Holds the figures of an evaluation, with the classes in alphabetical order."""

    iou: float
    interpolation: str
    classes: list[ClassScore]
    total: ClassScore


def compute_iou(one: Box, other: Box) -> float:
    """Returns the intersection over union of two boxes, 0 to 1."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return both / (areas - both)


def match_detections(
    truth: Sequence[TrueBox],
    found: Sequence[Detection],
    exhaustive: AbstractSet[str],
    asked: AbstractSet[str],
    iou: float,
) -> dict[str, ClassMatches]:
    """Matches one image, class by class. Labels must be in one spelling. Leaves out classes with nothing to count."""
    matches = {}
    for label in {box.label for box in truth} | {one.label for one in found}:
        boxes = [box for box in truth if box.label == label]
        detections = sorted((one for one in found if one.label == label), key=lambda one: (-one.score, one.box))
        counted = _match_class(boxes, detections, label in exhaustive, iou)
        objects = sum(not box.difficult for box in boxes)
        if objects or counted:
            scores, overlaps = [one[0] for one in counted], [one[1] for one in counted]
            matches[label] = ClassMatches(objects, label in asked, tuple(scores), tuple(overlaps))
    return matches


def _match_class(
    boxes: list[TrueBox], detections: list[Detection], exhaustive: bool, iou: float
) -> list[tuple[float, float]]:
    """Returns score and overlap of each detection that counts."""
    counted = []
    for detection, truth in zip(detections, pair_detections(boxes, detections, iou), strict=True):
        if truth is not None and not truth.difficult:
            counted.append((detection.score, compute_iou(truth.box, detection.box)))
        elif truth is None and exhaustive:
            counted.append((detection.score, 0.0))
    return counted


def pair_detections(boxes: Sequence[TrueBox], detections: Sequence[Detection], iou: float) -> list[TrueBox | None]:
    """Returns the truth of each detection of one class, in their order, by falling scores; None for one without any.

    Each truth is given to one detection, but a `difficult` one to all that no other truth is left for. Ties in overlap
    go to the first box by coordinates.
    """
    easy = sorted((box for box in boxes if not box.difficult), key=lambda box: box.box)  # not by the truth's order
    difficult = [box for box in boxes if box.difficult]
    found: list[TrueBox | None] = []
    for detection in detections:
        best = max(easy, key=lambda box: compute_iou(box.box, detection.box), default=None)
        if best is not None and compute_iou(best.box, detection.box) >= iou:
            easy.remove(best)
            found.append(best)
        else:
            found.append(next((box for box in difficult if compute_iou(box.box, detection.box) >= iou), None))
    return found


def score_boxes(images: Sequence[Mapping[str, ClassMatches]], iou: float) -> BoxScores:
    """Computes all figures of matched images; the draws take a fraction of a second for 80 images of 20 classes."""
    drawn = draw_resamples(len(images))
    total = np.zeros((len(drawn), len(COUNTED)))
    classes, curves = [], []
    for label in sorted({label for image in images for label in image}):
        shown = [(place, image[label]) for place, image in enumerate(images) if label in image]
        sums = drawn[:, [place for place, _ in shown]] @ np.array([_count_matches(one) for _, one in shown])
        curves.append(_compute_average_precision(shown, drawn, sums[:, 0]))
        classes.append(_score_class(label, len(shown), sums, curves[-1]))
        total += sums
    mean = _average_known(curves, len(drawn))
    return BoxScores(iou, INTERPOLATION, classes, _score_class("total", len(images), total, mean))


COUNTED = ("objects", "found", "wrong", "overlap", "asked", "asked and found")


def _count_matches(one: ClassMatches) -> tuple[float, ...]:
    found = sum(overlap > 0 for overlap in one.overlaps)
    asked = (one.objects, found) if one.asked else (0, 0)
    return one.objects, found, len(one.overlaps) - found, float(sum(one.overlaps)), *asked


def _score_class(label: str, images: int, sums: Floats, curve: Floats) -> ClassScore:
    objects, found, wrong, overlaps, asked, asked_found = sums.T
    return ClassScore(
        label,
        images,
        objects=int(objects[0]),
        found=int(found[0]),
        wrong=int(wrong[0]),
        missed=int(objects[0] - found[0]),
        precision=estimate(divide(found, found + wrong), images),
        recall=estimate(divide(found, objects), images),
        f1=estimate(divide(2 * found, objects + found + wrong), images),
        ap=estimate(curve, images),
        mean_iou=estimate(divide(overlaps, found), images),
        asked=int(asked[0]),
        recall_asked=estimate(divide(asked_found, asked), images),
    )


def _compute_average_precision(shown: Iterable[tuple[int, ClassMatches]], drawn: Floats, objects: Floats) -> Floats:
    """Returns the average precision of one class in each draw, (draws,); nan in draws without an object of it."""
    listed = [
        (score, overlap > 0, place)
        for place, one in shown
        for score, overlap in zip(one.scores, one.overlaps, strict=True)
    ]
    if not listed:
        return np.where(objects > 0, 0.0, np.nan)
    scores, hits, places = (np.array(column) for column in zip(*listed, strict=True))
    order = np.argsort(-scores, kind="stable")
    scores, hits, places = scores[order], hits[order], places[order]
    ends = np.flatnonzero(np.append(np.diff(scores) != 0, True))
    rows = max(1, BLOCK // len(order))
    areas = [_compute_areas(drawn[at : at + rows, places], hits, ends) for at in range(0, len(drawn), rows)]
    return divide(np.concatenate(areas), objects)


def _compute_areas(times: Floats, hits: NDArray[np.bool_], ends: NDArray[np.intp]) -> Floats:
    """Returns the areas under the curves times the number of objects; `times[draw, i]` counts detection i in a draw."""
    right = np.cumsum(times * hits, axis=1)[:, ends]
    precision = np.nan_to_num(divide(right, np.cumsum(times, axis=1)[:, ends]))
    best_from_here = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    area: Floats = (np.diff(right, axis=1, prepend=0) * best_from_here).sum(axis=1)
    return area


def _average_known(curves: Sequence[Floats], rows: int) -> Floats:
    if not curves:
        return np.full(rows, np.nan)
    known = ~np.isnan(curves)
    return divide(np.where(known, curves, 0.0).sum(axis=0), known.sum(axis=0).astype(np.float64))
