"""Compares the boxes of a row with a ground truth of boxes, class by class, as `evaluate boxes` does."""

from collections.abc import Mapping, Sequence
from typing import Any

from curation.scores.boxes import normalise_label, pair_detections
from pipelines.evaluate.run import IOU
from pipelines.view.columns.boxes import outline
from pipelines.view.page import Shape
from pipelines.view.truth.comparison import FOUND, LAYER, MISSED, NOT_ASKED, Comparison
from schemas.records.box import Detection
from schemas.records.ground_truth import BoxTruth, TrueBox


def compare_boxes(entry: BoxTruth, items: Sequence[Mapping[str, Any]]) -> Comparison:
    """Returns which objects were found, and which boxes are none of them where the truth has all of their class."""
    truth, found = entry.boxes, [_parse_item(item) for item in items]
    exhaustive = {normalise_label(label, {}) for label in entry.exhaustive_for}
    paired: set[int] = set()
    false_alarms: dict[int, str] = {}
    for label in dict.fromkeys(detection.label for detection in found):
        positions = [at for at, box in enumerate(truth) if normalise_label(box.label, {}) == label]
        order = [at for at, detection in enumerate(found) if detection.label == label]
        order.sort(key=lambda at: (-found[at].score, found[at].box))
        pairs = pair_detections([truth[at] for at in positions], [found[at] for at in order], IOU)
        for at, box in zip(order, pairs, strict=True):
            if box is not None:
                paired.add(next(other for other in positions if truth[other] is box))
            elif label in exhaustive:
                false_alarms[at] = f"{found[at].score:.2f}"
    outcomes = [_name_outcome(box, at in paired) for at, box in enumerate(truth)]
    return Comparison(
        names=tuple(box.label for box in truth),
        outcomes=tuple(outcomes),
        notes=("",) * len(truth),
        shapes=tuple(_draw(box, outcome) for box, outcome in zip(truth, outcomes, strict=True)),
        drawn=tuple(range(len(truth))),
        false_alarms=false_alarms,
    )


def _parse_item(item: Mapping[str, Any]) -> Detection:
    box = (item["x1"], item["y1"], item["x2"], item["y2"])
    return Detection(normalise_label(item["label"], {}), item["phrase"], box, item["score"])


def _name_outcome(box: TrueBox, is_paired: bool) -> str:
    return FOUND if is_paired else NOT_ASKED if box.difficult else MISSED


def _draw(box: TrueBox, outcome: str) -> Shape:
    status = MISSED if outcome == MISSED else ""
    return Shape(0, LAYER, outline(*box.box), f"truth: {box.label}", is_labelled=bool(status), status=status)
