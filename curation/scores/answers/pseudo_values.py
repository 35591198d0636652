"""Computes the part of each question, or group of questions, in a metric's figures, by the jackknife.

A pseudo-value of a group is n times the figure minus n - 1 times the figure without the group (Tukey, 1958). Of a mean
it is the group's own score. Of a ratio, such as F1, or a mean over categories it is what the group adds to it, so that
figures of any form can be analysed as means are. They are shifted so that their mean is the figure itself, as Hillis et
al. (2005) do for areas under curves.
"""

from collections.abc import Sequence

import numpy as np

from curation.scores.answers.metric import AnsweredQuestion, Metric
from curation.scores.answers.scoring import build_table, compute_figures, group_questions
from curation.scores.bootstrap import Floats


def compute_pseudo_values(metric: Metric, questions: Sequence[AnsweredQuestion]) -> dict[str, Floats]:
    """Returns the pseudo-values of each figure [groups], in the order of the groups' first questions.

    Those of a figure are nan if it has no value, or has none without some group.
    """
    groups = group_questions(questions)
    names, table = build_table(metric.count(groups))
    whole = table.sum(axis=0)
    figures = compute_figures(metric, names, np.vstack([whole, whole - table]))
    return {name: _to_pseudo_values(values[0], values[1:]) for name, values in figures.items()}


def _to_pseudo_values(figure: np.float64, without: Floats) -> Floats:
    """Returns the pseudo-values from the figure and those without each group; a single group has the figure."""
    if len(without) < 2:
        return np.full(len(without), figure)
    values = len(without) * figure - (len(without) - 1) * without
    shifted: Floats = values + (figure - values.mean())
    return shifted
