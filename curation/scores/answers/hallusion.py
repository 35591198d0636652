"""Scores HallusionBench by a rule, where the publisher asks GPT-4 whether an answer says yes or no.

A group of questions is a set: questions about a figure and about changed versions of it. Their ids end with the
numbers of set, figure and question, `VD_illusion_0_1_0`. Figure 0 of the category VS stands for no figure.
"""

import re
from collections import defaultdict

from curation.scores.answers.metric import AnsweredQuestion, Counts, Group, Metric
from curation.scores.answers.yes_no import find_yes_or_no_fault
from curation.scores.bootstrap import divide

_WORD = re.compile(r"[a-z]+")
_WITHOUT_FIGURE = "VS_"  # begins the groups whose figure 0 is none


def read_yes_or_no(text: str) -> str | None:
    """Returns the one of `yes` and `no` that is a word of the answer; None for neither or both."""
    said = {"yes", "no"}.intersection(_WORD.findall(text.lower()))
    return said.pop() if len(said) == 1 else None


def count_set(group: Group) -> Counts:
    """Counts the questions of a set, its figures, and its questions over all figures, and which of them are right."""
    figures, pairs = defaultdict[str, bool](lambda: True), defaultdict[str, bool](lambda: True)
    right = 0
    for one in group:
        is_right = _is_right(one)
        _, figure, question = f"__{one.id}".rsplit("_", 2)
        if not ((one.group or one.id).startswith(_WITHOUT_FIGURE) and figure == "0"):
            figures[figure] &= is_right
        pairs[question] &= is_right
        right += is_right
    return {
        "questions": len(group),
        "right": right,
        "figures": len(figures),
        "figures_right": sum(figures.values()),
        "pairs": len(pairs),
        "pairs_right": sum(pairs.values()),
    }


def _is_right(question: AnsweredQuestion) -> bool:
    return read_yes_or_no(question.prediction) == question.answers[0].strip().lower()


HALLUSION_RULE = Metric(
    "hallusion_rule",
    lambda groups: [count_set(group) for group in groups],
    {
        "accuracy": lambda sums: divide(sums["right"], sums["questions"]),  # aAcc
        "figure_accuracy": lambda sums: divide(sums["figures_right"], sums["figures"]),  # fAcc
        "question_accuracy": lambda sums: divide(sums["pairs_right"], sums["pairs"]),  # qAcc
    },
    find_fault=find_yes_or_no_fault,
)
