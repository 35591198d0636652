"""Scores questions whose answer is yes or no: POPE, and MME with its accuracy+ over both questions of an image.

Each benchmark's own script reads the answer in its own way, and is followed here: `evaluate.py` of POPE, whose answer
is yes unless its first sentence has a no, and `calculation.py` of MME, whose answer must begin with one of the two.
"""

from collections.abc import Sequence

import numpy as np

from curation.scores.answers.metric import AnsweredQuestion, Counts, Group, Metric, Sums, count_each
from curation.scores.bootstrap import Floats, divide

_NO = frozenset(("No", "not", "no"))
_PREFIX = 4  # characters of an answer of MME that are searched
_QUESTIONS = 2  # about an image of MME
_SEPARATOR = "/"


def read_pope_answer(text: str) -> bool:
    """Returns whether the answer is yes."""
    return _NO.isdisjoint(text.split(".")[0].replace(",", "").split(" "))


def count_pope(question: AnsweredQuestion) -> Counts:
    """Counts a question by what is right and what was answered. One that the model could not take has no answer."""
    right = question.answers[0].strip().lower() != "no"
    given = read_pope_answer(question.prediction) if question.is_answered else None
    is_yes = given is True
    return {"questions": 1, "yes": is_yes, "true": right == given, "true_yes": right and is_yes, "objects": right}


def find_yes_or_no_fault(answers: tuple[str, ...]) -> str | None:
    """Returns why right answers are not one of yes and no; None if they are."""
    told = {answer.strip().lower() for answer in answers}
    return None if told in ({"yes"}, {"no"}) else f"the answer {', '.join(sorted(told))[:60]!r} is neither yes nor no"


POPE = Metric(
    "pope",
    count_each(count_pope),
    {
        "f1": lambda sums: divide(2 * sums["true_yes"], sums["yes"] + sums["objects"]),
        "accuracy": lambda sums: divide(sums["true"], sums["questions"]),
        "precision": lambda sums: divide(sums["true_yes"], sums["yes"]),
        "recall": lambda sums: divide(sums["true_yes"], sums["objects"]),
        "yes_share": lambda sums: divide(sums["yes"], sums["questions"]),
    },
    find_fault=find_yes_or_no_fault,
)


def read_mme_answer(text: str) -> str | None:
    """Returns `yes` or `no`, or None for another answer."""
    prefix = text.strip().lower()[:_PREFIX]
    return next((word for word in ("yes", "no") if word in prefix), None)


def count_mme(groups: Sequence[Group]) -> list[Counts]:
    """Counts, by category, the questions and images and those answered right. A group is an image."""
    return [_count_image(group) for group in groups]


def _count_image(group: Group) -> Counts:
    """Counts an image as right if both its questions are: one whose other question is quarantined is not."""
    right = [read_mme_answer(one.prediction) == one.answers[0].strip().lower() for one in group]
    is_right = all(right) and len(right) >= _QUESTIONS
    counts = {"questions": len(right), "right": sum(right), "images": 1, "images_right": is_right}
    return {f"{group[0].category}{_SEPARATOR}{name}": count for name, count in counts.items()}


def _list_categories(sums: Sums) -> list[str]:
    return sorted({name.rsplit(_SEPARATOR, 1)[0] for name in sums})


def _average_categories(sums: Sums, parts: Sequence[tuple[str, str]], categories: Sequence[str] = ()) -> Floats:
    """Returns the mean of the shares, parts of wholes, of these or all categories; a share of nothing is left out."""
    shares = [
        divide(sums[f"{category}{_SEPARATOR}{part}"], sums[f"{category}{_SEPARATOR}{whole}"])
        for category in categories or _list_categories(sums)
        for part, whole in parts
    ]
    known = ~np.isnan(shares)
    return divide(np.where(known, shares, 0.0).sum(axis=0), known.sum(axis=0).astype(np.float64))


def _sum_categories(sums: Sums, subtasks: frozenset[str]) -> Floats:
    """Returns the sum of both shares over the categories that are among the subtasks; nan where there is none.

    In a draw without a question of a category, that category counts as the mean of the others.
    """
    held = [name for name in _list_categories(sums) if _normalise_subtask(name) in subtasks]
    if not held:
        return np.full_like(next(iter(sums.values())), np.nan)
    both = [_ACCURACY, _ACCURACY_PLUS]
    return len(held) * len(both) * _average_categories(sums, both, held)


def _normalise_subtask(name: str) -> str:
    """Returns a category in the spelling of `calculation.py`, but for case: some copies write `text translation`."""
    return name.strip().lower().replace(" ", "_")


PERCEPTION = frozenset(
    ("existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork", "ocr")
)
COGNITION = frozenset(("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning"))
"""The subtasks of MME's two parts, as `calculation.py` lists them."""

_ACCURACY, _ACCURACY_PLUS = ("right", "questions"), ("images_right", "images")

# The published total is the sum over 14 categories of 100 times both shares: `normalised` times 2,800. Its two parts
# are published apart: times 100, `perception` is at most 2,000 and `cognition` at most 800.
MME = Metric(
    "mme",
    count_mme,
    {
        "normalised": lambda sums: _average_categories(sums, [_ACCURACY, _ACCURACY_PLUS]),
        "accuracy": lambda sums: _average_categories(sums, [_ACCURACY]),
        "accuracy_plus": lambda sums: _average_categories(sums, [_ACCURACY_PLUS]),
        "perception": lambda sums: _sum_categories(sums, PERCEPTION),
        "cognition": lambda sums: _sum_categories(sums, COGNITION),
    },
    find_fault=find_yes_or_no_fault,
)
