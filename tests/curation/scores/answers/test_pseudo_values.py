"""Pseudo-values: scores of questions for means, and what a group adds to any other figure."""

import numpy as np
import pytest

from curation.scores.answers.metric import AnsweredQuestion
from curation.scores.answers.pseudo_values import compute_pseudo_values
from curation.scores.answers.registry import METRICS
from curation.scores.answers.scoring import score_answers


def answer(number: int, right: str, given: str, **more: str) -> AnsweredQuestion:
    return AnsweredQuestion(str(number), (right,), given, **more)  # type: ignore[arg-type]


def test_those_of_a_mean_are_the_scores() -> None:
    questions = [answer(n, "dog", "dog" if n in (1, 4) else "cat") for n in range(6)]
    found = compute_pseudo_values(METRICS["exact_match"], questions)
    assert found["exact_match"] == pytest.approx([0, 1, 0, 0, 1, 0])


def test_those_of_a_ratio_have_the_figure_as_their_mean() -> None:
    """Word errors over words: 0 of 4, 1 of 1, 1 of 2; without one of them 2 of 3, 1 of 6 and 1 of 5."""
    questions = [answer(0, "a b c d", "a b c d"), answer(1, "a", "b"), answer(2, "a b", "a c")]
    found = compute_pseudo_values(METRICS["error_rates"], questions)["wer"]
    plain = 3 * 2 / 7 - 2 * np.array([2 / 3, 1 / 6, 1 / 5])
    assert found == pytest.approx(plain + 2 / 7 - plain.mean())
    assert found.mean() == pytest.approx(score_answers(METRICS["error_rates"], questions)["wer"].value)


def test_questions_of_a_group_are_one_value() -> None:
    questions = [answer(n, "a", "a" if n < 3 else "b", group=f"{n // 2}") for n in range(4)]
    found = compute_pseudo_values(METRICS["exact_match"], questions)
    assert len(found["exact_match"]) == 2
    assert found["exact_match"].mean() == pytest.approx(0.75)


def test_a_figure_without_a_value() -> None:
    """Without the only yes there is no precision."""
    questions = [answer(0, "yes", "yes"), answer(1, "no", "no"), answer(2, "no", "no")]
    found = compute_pseudo_values(METRICS["pope"], questions)
    assert np.isnan(found["precision"]).any()
    assert found["accuracy"].tolist() == [1, 1, 1]
    assert compute_pseudo_values(METRICS["pope"], questions[:1])["accuracy"].tolist() == [1]
