"""Computes COCO's AP@[.5:.95] by pycocotools, with 95% confidence intervals, beside the figures of `boxes`.

pycocotools matches detections with the truth and computes the values: the mean over ten thresholds of the IoU, from 0.5
to 0.95, of the precision at 101 recalls, with at most 100 detections of a class in an image. Two rules of the truths
hold here too, as they do for LVIS: a detection without a match is left out where the truth is not exhaustive for its
class, and a `difficult` object need not be found. The intervals come from the same matches in resampled images.
"""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.scores.bootstrap import UNKNOWN, Estimate, Floats, divide, draw_resamples, estimate
from curation.scores.boxes import BLOCK, BoxScores
from schemas.records.box import Detection
from schemas.records.ground_truth import TrueBox

MAX_DETECTIONS = 100
_LARGEST = 1e10  # area that counts: larger objects are ignored, and difficult ones are called larger
_IGNORED = 2 * _LARGEST


@dataclass(frozen=True, slots=True)
class CocoImage:
    """Holds the truth of an image and what was found in it. Labels must be in one spelling."""

    truth: Sequence[TrueBox]
    found: Sequence[Detection]
    exhaustive: frozenset[str]


@dataclass(frozen=True, slots=True)
class _ClassMatches:
    """Holds the matches of one class, the detections of all images by falling score."""

    objects: Floats  # in each image, without difficult ones
    images: NDArray[np.int64]  # of each detection
    right: NDArray[np.bool_]  # [thresholds, detections]
    wrong: NDArray[np.bool_]


def add_coco_scores(scores: BoxScores, images: Sequence[CocoImage]) -> BoxScores:
    """Returns the scores with COCO's AP of each class and their mean; unchanged where pycocotools is not installed."""
    if find_spec("pycocotools") is None:
        return scores
    found = score_coco(images)
    classes = [replace(one, coco_ap=found.get(one.label, UNKNOWN)) for one in scores.classes]
    return replace(scores, classes=classes, total=replace(scores.total, coco_ap=found["total"]))


def score_coco(images: Sequence[CocoImage]) -> dict[str, Estimate]:
    """Returns COCO's AP by class, and under `total` their mean. A class without an object has no value."""
    known = {box.label for image in images for box in image.truth}
    labels = sorted(known | {one.label for image in images for one in image.found})
    if not labels:
        return {"total": UNKNOWN}
    evaluation = _evaluate(images, labels)
    drawn = draw_resamples(len(images))
    precision = evaluation.eval["precision"]  # [thresholds, recalls, classes, 1, 1]; -1 for a class without an object
    found, curves = dict[str, Estimate](), []
    for number, label in enumerate(labels):
        matches = _collect(evaluation, number, len(images))
        curves.append(_compute_average_precision(matches, drawn, evaluation.params.recThrs))
        found[label] = _estimate(precision[:, :, number], curves[-1], int(np.count_nonzero(matches.objects)))
    has_value = ~np.isnan(curves)
    means = divide(np.where(has_value, curves, 0.0).sum(axis=0), has_value.sum(axis=0).astype(np.float64))
    return found | {"total": _estimate(precision, means, len(images))}


def _estimate(precision: Floats, drawn: Floats, images: int) -> Estimate:
    """Returns the value as pycocotools summarises it, with the interval of the draws."""
    counted = precision[precision > -1]
    return replace(estimate(drawn, images), value=float(counted.mean())) if counted.size else UNKNOWN


def _evaluate(images: Sequence[CocoImage], labels: Sequence[str]) -> Any:
    """Returns the finished evaluation of pycocotools, whose classes and images are numbered from 0."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, found = [], []
    for number, image in enumerate(images):
        truth += [_describe(one, number, labels, _IGNORED if one.difficult else 0.0) for one in image.truth]
        found += [_describe(one, number, labels, 0.0) | {"score": one.score} for one in image.found]
    sets = [COCO(), COCO()]
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
        for coco, entries in zip(sets, (truth, found), strict=True):
            coco.dataset = {
                "images": [{"id": number} for number in range(len(images))],
                "categories": [{"id": number, "name": label} for number, label in enumerate(labels)],
                "annotations": [entry | {"id": number} for number, entry in enumerate(entries, 1)],  # 0 is no match
            }
            coco.createIndex()
        evaluation = COCOeval(*sets, iouType="bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, _LARGEST]], ["all"]
        evaluation.params.maxDets = [MAX_DETECTIONS]
        evaluation.evaluate()
        for one in filter(None, evaluation.evalImgs):
            if labels[one["category_id"]] not in images[one["image_id"]].exhaustive:
                one["dtIgnore"] = np.logical_or(one["dtIgnore"], one["dtMatches"] == 0)
        evaluation.accumulate()
    return evaluation


def _describe(one: TrueBox | Detection, image: int, labels: Sequence[str], area: float) -> dict[str, Any]:
    x1, y1, x2, y2 = one.box
    box = [x1, y1, x2 - x1, y2 - y1]
    return {"image_id": image, "category_id": labels.index(one.label), "bbox": box, "area": area, "iscrowd": 0}


def _collect(evaluation: Any, label: int, images: int) -> _ClassMatches:
    """Returns the matches of a class as `COCOeval.accumulate` joins them: equal scores stay in the images' order."""
    held = [one for one in evaluation.evalImgs[label * images : (label + 1) * images] if one is not None]
    objects = np.zeros(images)
    for one in held:
        objects[one["image_id"]] = np.count_nonzero(one["gtIgnore"] == 0)
    order = np.argsort(-np.concatenate([one["dtScores"] for one in held]), kind="mergesort")
    numbers = np.concatenate([np.full(len(one["dtScores"]), one["image_id"]) for one in held])[order]
    matched = np.concatenate([one["dtMatches"] for one in held], axis=1)[:, order] > 0
    ignored = np.concatenate([one["dtIgnore"] for one in held], axis=1)[:, order].astype(np.bool_)
    return _ClassMatches(objects, numbers.astype(np.int64), matched & ~ignored, ~matched & ~ignored)


def _compute_average_precision(matches: _ClassMatches, drawn: Floats, recalls: Floats) -> Floats:
    """Returns the AP in each draw, (draws,); nan in those without an object."""
    objects = drawn @ matches.objects
    if not len(matches.images):
        return np.where(objects > 0, 0.0, np.nan)
    rows = max(1, BLOCK // len(matches.images))
    total = np.zeros(len(drawn))
    for at in range(0, len(drawn), rows):
        part = slice(at, at + rows)
        times = drawn[part, matches.images]
        for right, wrong in zip(matches.right, matches.wrong, strict=True):
            total[part] += _sum_precisions(times * right, times * wrong, objects[part], recalls)
    return np.where(objects > 0, total / (len(matches.right) * len(recalls)), np.nan)


def _sum_precisions(right: Floats, wrong: Floats, objects: Floats, recalls: Floats) -> Floats:
    """Returns the sums of the precisions at the recalls, (draws,), as `COCOeval.accumulate` interpolates them."""
    found = np.cumsum(right, axis=1)
    precision = found / (np.cumsum(wrong, axis=1) + found + np.spacing(1))
    best_from_here = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    reached = np.searchsorted(recalls, found / np.maximum(objects, 1)[:, None], side="right")
    sums: Floats = (np.diff(reached, axis=1, prepend=0) * best_from_here).sum(axis=1)
    return sums
