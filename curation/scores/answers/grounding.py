"""Scores boxes that a model writes: right if the intersection over union with a right box is at least 0.5.

A box is the first four numbers in brackets, or else in a row, the two corners, in any notation:
`[0.1, 0.2, 0.5, 0.6]`, or `<box>(100,200),(500,600)</box>`. They are shares of the image's sides, or thousandths where
one of them is over 1. Negative ones, outside the image, are 0.
"""

import re

from curation.scores.answers.metric import AnsweredQuestion, Counts, Metric, count_each
from curation.scores.bootstrap import divide
from curation.scores.boxes import compute_iou
from schemas.records.box import Box

THRESHOLD = 0.5  # of the intersection over union, as for RefCOCO
_THOUSANDTHS = 1000

_BETWEEN = r"[\s,;()\[\]<>]{1,8}"
_NUMBERS = _BETWEEN.join([r"(-?(?:\d{1,9}(?:\.\d{0,20})?|\.\d{1,20})(?:e-?\d{1,2})?)"] * 4)
_BOX = re.compile(_NUMBERS)
_IN_BRACKETS = re.compile(rf"[(\[<]\s{{0,8}}{_NUMBERS}\s{{0,8}}[)\]>]")


def read_box(text: str) -> Box | None:
    """Returns the first box of a text, in shares of the image's sides; None if it has none."""
    found = _IN_BRACKETS.search(text) or _BOX.search(text)
    if found is None:
        return None
    numbers = [float(number) for number in found.groups()]
    scale = _THOUSANDTHS if max(numbers) > 1 else 1
    x1, y1, x2, y2 = (max(number / scale, 0.0) for number in numbers)
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)


def count_box(question: AnsweredQuestion) -> Counts:
    """Counts whether the answer has a box, and whether that is right; adds up its overlap with the best right box."""
    given = read_box(question.prediction)
    right = [box for box in map(read_box, question.answers) if box is not None]
    overlap = max((compute_iou(box, given) for box in right), default=0.0) if given is not None else 0.0
    counts = {"questions": 1, "boxes": given is not None, "right": overlap >= THRESHOLD, "overlap": overlap}
    return {name: float(count) for name, count in counts.items()}


def find_box_fault(answers: tuple[str, ...]) -> str | None:
    """Returns why right answers are no boxes; None if all are."""
    wrong = [answer for answer in answers if read_box(answer) is None]
    return f"the answer {wrong[0][:60]!r} has no box" if wrong else None


GROUNDING = Metric(
    "grounding",
    count_each(count_box),
    {
        "accuracy": lambda sums: divide(sums["right"], sums["questions"]),
        "mean_iou": lambda sums: divide(sums["overlap"], sums["questions"]),
        "boxes_share": lambda sums: divide(sums["boxes"], sums["questions"]),
    },
    find_fault=find_box_fault,
)
