"""Computes a metric's figures of a model's answers, and of two models' differences, with 95% confidence intervals.

The intervals are percentile bootstraps over questions, or over groups of questions that a metric keeps together. Two
models are compared in pairs: each draw takes the same questions of both, so that questions which are hard for both add
nothing to the interval of the difference.
"""

from collections.abc import Sequence

import numpy as np

from curation.scores.answers.metric import AnsweredQuestion, Counts, Group, Metric
from curation.scores.bootstrap import Estimate, Floats, draw_group_resamples, estimate

Estimates = dict[str, Estimate]


def score_answers(metric: Metric, questions: Sequence[AnsweredQuestion]) -> Estimates:
    """Returns the figures with their intervals; those of no question have no value."""
    groups = group_questions(questions)
    names, table = build_table(metric.count(groups))
    sums = _sum_draws(table)
    figures = compute_figures(metric, names, sums)
    return {figure: estimate(values, len(groups)) for figure, values in figures.items()}


def score_each(metric: Metric, questions: Sequence[AnsweredQuestion]) -> list[float]:
    """Returns the metric's accuracy of each question alone, or else its first figure; nan where there is none.

    Questions of one group have the score of the group. CIDEr weights words by the references of all questions.
    """
    groups = group_questions(questions)
    compute = metric.figures.get("accuracy") or next(iter(metric.figures.values()))
    scores: dict[int, float] = {}
    for group, counts in zip(groups, metric.count(groups), strict=True):
        score = float(compute({name: np.array([value], np.float64) for name, value in counts.items()})[0])
        scores.update((id(question), score) for question in group)
    return [scores[id(question)] for question in questions]


def compare_answers(
    metric: Metric, questions: Sequence[AnsweredQuestion], others: Sequence[AnsweredQuestion]
) -> Estimates:
    """Returns how much the first model's figures are above the second's, on the questions that both answered.

    Raises `ValueError` if there is none, or if a question has other right answers in the two.
    """
    first, second = ({question.id: question for question in answered} for answered in (questions, others))
    shared = [name for name in first if name in second]
    if not shared:
        raise ValueError("the two have no question in common")
    for name in shared:
        if (first[name].answers, first[name].choices) != (second[name].answers, second[name].choices):
            raise ValueError(f"question {name} has other right answers in the two")
    groups = group_questions([first[name] for name in shared])
    names, table = build_table(metric.count(groups))
    other_names, other_table = build_table(metric.count([[second[one.id] for one in group] for group in groups]))
    sums = _sum_draws(np.hstack([table, other_table]))
    ours = compute_figures(metric, names, sums[:, : len(names)])
    theirs = compute_figures(metric, other_names, sums[:, len(names) :])
    return {figure: estimate(ours[figure] - theirs[figure], len(groups)) for figure in metric.figures}


def group_questions(questions: Sequence[AnsweredQuestion]) -> list[Group]:
    """Returns the groups of questions that belong together, most of one question each, in order."""
    groups: dict[tuple[str, str], list[AnsweredQuestion]] = {}
    for question in questions:
        key = ("group", question.group) if question.group else ("question", question.id)
        groups.setdefault(key, []).append(question)
    return list(groups.values())


def build_table(counts: Sequence[Counts]) -> tuple[list[str], Floats]:
    """Returns the names of all counts, and the counts of each group, [groups, names]."""
    names = sorted({name for one in counts for name in one})
    table = np.array([[one.get(name, 0.0) for name in names] for one in counts], np.float64)
    return names, table.reshape(len(counts), len(names))


def _sum_draws(table: Floats) -> Floats:
    """Returns the sums of the sample and of each draw, [1 + draws, names]; equal rows are drawn together."""
    rows, sizes = np.unique(table, axis=0, return_counts=True)
    sums: Floats = draw_group_resamples(sizes.tolist()) @ rows
    return sums


def compute_figures(metric: Metric, names: Sequence[str], sums: Floats) -> dict[str, Floats]:
    """Returns each figure of each row of sums [rows, names], nan where there is none."""
    by_name = dict(zip(names, sums.T, strict=True))
    if not by_name:
        return {figure: np.full(len(sums), np.nan) for figure in metric.figures}
    return {figure: compute(by_name) for figure, compute in metric.figures.items()}
