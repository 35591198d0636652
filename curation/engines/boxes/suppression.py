"""Selects which of a detector's boxes stay: by shape, by size, and one box for each thing of a label."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.records.box import Box, Detection


def sort_detections(found: Iterable[Detection]) -> list[Detection]:
    """Sorts by falling score, equals by label, then box, so that the order of the input does not matter."""
    return sorted(found, key=lambda one: (-one.score, one.label, one.box, one.phrase))


def keep_well_formed(found: Iterable[Detection], min_side: float, max_area: float) -> list[Detection]:
    """Returns the boxes with an area above 0 and at most `max_area`, and no side below `min_side` (image shares)."""
    return [one for one in found if _is_well_formed(one.box, min_side, max_area)]


def apply_nms(found: Iterable[Detection], max_overlap: float) -> list[Detection]:
    """Applies non-maximum suppression within each label, and sorts the rest as `sort_detections` does.

    Of two boxes whose intersection over union is above `max_overlap`, only the one with the higher score stays.
    """
    by_label: dict[str, list[Detection]] = defaultdict(list)
    for one in sort_detections(found):
        by_label[one.label].append(one)
    return sort_detections(one for same in by_label.values() for one in _drop_overlapping(same, max_overlap))


def compute_ious(box: Box, others: Sequence[Box]) -> NDArray[np.float64]:
    """Returns the intersection over union of a box with each of the others, 0 to 1."""
    x1, y1, x2, y2 = np.array(others, np.float64).reshape(-1, 4).T
    width = np.minimum(x2, box[2]) - np.maximum(x1, box[0])
    height = np.minimum(y2, box[3]) - np.maximum(y1, box[1])
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    return np.asarray(shared / ((x2 - x1) * (y2 - y1) + (box[2] - box[0]) * (box[3] - box[1]) - shared), np.float64)


def _is_well_formed(box: Box, min_side: float, max_area: float) -> bool:
    width, height = box[2] - box[0], box[3] - box[1]
    return min(width, height) > 0 and min(width, height) >= min_side and width * height <= max_area


def _drop_overlapping(found: Sequence[Detection], max_overlap: float) -> list[Detection]:
    kept: list[Detection] = []
    rest = list(found)
    while rest:
        first, *rest = rest
        kept.append(first)
        overlap = compute_ious(first.box, [one.box for one in rest])
        rest = [one for one, shared in zip(rest, overlap, strict=True) if shared <= max_overlap]
    return kept
