"""Reads a judge's verdicts, and scores answers by them."""

import re
from collections.abc import Mapping

from curation.scores.answers.metric import AnsweredQuestion, Counts, Metric, count_each
from curation.scores.bootstrap import divide

_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w%]|\.\d)")
_MARKS = " \t\r\n.,:;!*\"'`()[]"


def read_verdict(text: str, labels: Mapping[str, float]) -> float | None:
    """Returns the score, from 0 to 1, that a judge's text gives; None if it gives none.

    With `labels` (in lower case), it is that of the first word. Without, it is the text's only number from 0 to 1: one
    that names two of them has not decided.
    """
    if labels:
        words = text.casefold().split()
        return labels.get(words[0].strip(_MARKS)) if words else None
    numbers = {float(number) for number in _NUMBER.findall(text)}
    (score,) = numbers if len(numbers) == 1 else (-1.0,)
    return score if 0 <= score <= 1 else None


def count_judged(question: AnsweredQuestion) -> Counts:
    """Counts a question that has a verdict; one without is in no figure."""
    if question.verdict_score is None:
        return {"score": 0, "questions": 0}
    return {"score": question.verdict_score, "questions": 1}


JUDGED = Metric(
    "judged", count_each(count_judged), {"judged": lambda sums: divide(sums["score"], sums["questions"])}, min_answers=0
)
"""The mean of the verdicts. A task file names its rule as the metric, and this one comes with its judge."""
