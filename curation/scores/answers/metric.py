"""Defines a metric: what it counts of the answers to a group of questions, and the figures it computes from sums.

A figure is a function of sums over groups, so that one function gives its value and each draw of its bootstrap. The
groups are what is drawn: single questions for most metrics, but the two questions of an image for MME, whose accuracy+
needs both.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from curation.scores.bootstrap import Floats, divide


@dataclass(frozen=True, slots=True)
class AnsweredQuestion:
    """Holds a question's right answers, and what a model answered."""

    id: str
    answers: tuple[str, ...]
    prediction: str
    choices: tuple[str, ...] = ()  # of a multiple choice, whose right answers are letters
    group: str = ""  # questions of one group are drawn together; empty: this question is a group by itself
    category: str = ""
    verdict_score: float | None = None  # a judge's, 0 to 1; None: it has given none
    is_answered: bool = True  # False: the model could not take the question, which is wrong whatever is right


Group = Sequence[AnsweredQuestion]
Counts = dict[str, float]
Sums = Mapping[str, Floats]
"""The sum of each count over the groups of each draw, [draws]."""


@dataclass(frozen=True, slots=True)
class Metric:
    """Declares a metric by its name in task files."""

    name: str
    count: Callable[[Sequence[Group]], list[Counts]]
    """Returns the counts of each group. It sees all groups, because CIDEr weights words by all references."""
    figures: Mapping[str, Callable[[Sums], Floats]]
    """The figures by name, nan where there is none; the first is the one that papers quote."""
    min_answers: int = 1
    """Right answers that a question must have at least."""
    has_choices: bool = False
    """Whether a question needs choices."""
    may_have_choices: bool = False
    """Whether a question that has choices is answered by a letter, and another one by words."""
    counts_people: bool = False
    """Whether each answer is that of one of several people, so that an empty one counts, too."""
    find_fault: Callable[[tuple[str, ...]], str | None] | None = None
    """Returns why right answers are none that the metric could find in a prediction; None if they are."""


def make_mean(
    name: str,
    score: Callable[[AnsweredQuestion], float],
    min_answers: int = 1,
    has_choices: bool = False,
    may_have_choices: bool = False,
    counts_people: bool = False,
) -> Metric:
    """Makes a metric whose one figure is the mean of the questions' scores, which has the metric's name."""
    return Metric(
        name=name,
        count=count_each(lambda question: {"score": score(question), "questions": 1}),
        figures={name: lambda sums: divide(sums["score"], sums["questions"])},
        min_answers=min_answers,
        has_choices=has_choices,
        may_have_choices=may_have_choices,
        counts_people=counts_people,
    )


def count_each(count: Callable[[AnsweredQuestion], Counts]) -> Callable[[Sequence[Group]], list[Counts]]:
    """Makes a function that adds up the counts of each group's questions."""
    return lambda groups: [add_counts(map(count, group)) for group in groups]


def add_counts(counts: Iterable[Counts]) -> Counts:
    """Returns the sums by name."""
    total: Counts = {}
    for one in counts:
        for name, value in one.items():
            total[name] = total.get(name, 0) + value
    return total
