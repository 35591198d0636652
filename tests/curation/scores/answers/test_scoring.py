"""Intervals of one model's figures and of two models' differences."""

import pytest

from curation.scores.answers.metric import AnsweredQuestion
from curation.scores.answers.registry import METRICS
from curation.scores.answers.scoring import compare_answers, score_answers, score_each
from curation.scores.bootstrap import Estimate

MATCH = METRICS["exact_match"]


def answered(right: list[bool], group: int = 1) -> list[AnsweredQuestion]:
    return [
        AnsweredQuestion(str(n), ("yes",), "yes" if one else "no", group=str(n // group) if group > 1 else "")
        for n, one in enumerate(right)
    ]


def test_metrics_by_name() -> None:
    expected = "cider vqa_accuracy exact_match anls relaxed_accuracy multiple_choice pope mme grounding error_rates"
    assert list(METRICS) == [
        *expected.split(),
        *("attack_success_rate", "circular_choice", "answer_rule", "hallusion_rule", "mm_vet_rule"),
    ]


def test_the_interval_of_a_share_is_the_binomial_one() -> None:
    found = score_answers(MATCH, answered([True] * 120 + [False] * 280))["exact_match"]
    error = 1.96 * (0.3 * 0.7 / 400) ** 0.5
    assert found.value == pytest.approx(0.3)
    assert found.low == pytest.approx(0.3 - error, abs=0.1 * error)
    assert found.high == pytest.approx(0.3 + error, abs=0.1 * error)
    assert found == score_answers(MATCH, answered([True] * 120 + [False] * 280))["exact_match"]


def test_questions_of_a_group_are_drawn_together() -> None:
    """Groups of four equal answers make the interval twice as wide."""
    right = ([True] * 4 + [False] * 4) * 50
    one, four = (score_answers(MATCH, answered(right, group))["exact_match"] for group in (1, 4))
    assert one.value == four.value == 0.5
    assert one.high is not None
    assert four.high is not None
    assert (four.high - 0.5) / (one.high - 0.5) == pytest.approx(2, abs=0.3)


def test_no_question_has_no_figure() -> None:
    for metric in METRICS.values():
        assert set(score_answers(metric, []).values()) == {Estimate(None)}
    assert score_answers(MATCH, answered([True]))["exact_match"] == Estimate(1.0)


def test_pairs_leave_out_what_both_find_hard() -> None:
    """Two models that differ in 10 of 400 questions, all for one of them; alone, their intervals overlap."""
    worse = [n % 2 == 1 for n in range(400)]
    better = [one or n % 40 == 0 for n, one in enumerate(worse)]
    gained = sum(better) - sum(worse)
    found = compare_answers(MATCH, answered(better), answered(worse))["exact_match"]
    assert gained == 10
    assert found.value == pytest.approx(gained / 400)
    assert found.low is not None
    assert found.low > 0
    error = 1.96 * (gained / 400 * (1 - gained / 400) / 400) ** 0.5
    assert gained / 400 - found.low == pytest.approx(error, rel=0.2)
    alone = [score_answers(MATCH, answered(right))["exact_match"] for right in (better, worse)]
    assert alone[0].low is not None
    assert alone[1].high is not None
    assert alone[0].low < alone[1].high


def test_a_model_does_not_differ_from_itself() -> None:
    right = answered([True, False, True])
    assert compare_answers(MATCH, right, right)["exact_match"] == Estimate(0.0, 0.0, 0.0)


def test_only_the_same_questions_are_compared() -> None:
    some = answered([True, False, True])
    assert compare_answers(MATCH, some[:2], some[1:])["exact_match"] == Estimate(0.0)
    with pytest.raises(ValueError, match=r"^the two have no question in common$"):
        compare_answers(MATCH, some[:1], some[1:])
    other = [AnsweredQuestion("1", ("no",), "no")]
    with pytest.raises(ValueError, match=r"^question 1 has other right answers in the two$"):
        compare_answers(MATCH, some, other)


def test_each_question_has_a_score() -> None:
    """Of POPE the accuracy, as one question has no F1; of MME both questions of an image together."""
    asked = [AnsweredQuestion(str(n), ("no",), text) for n, text in enumerate(["No.", "Yes.", "no"])]
    assert score_each(METRICS["pope"], asked) == [1.0, 0.0, 1.0]
    pairs = [AnsweredQuestion(str(n), ("yes",), "yes" if n < 3 else "no", group=str(n // 2)) for n in range(4)]
    assert score_each(METRICS["mme"], pairs) == [1.0, 1.0, 0.5, 0.5]
    rates = [AnsweredQuestion("a", ("abcd",), "abxd"), AnsweredQuestion("b", ("ab",), "ab")]
    assert score_each(METRICS["error_rates"], rates) == [0.25, 0.0]
    assert score_each(METRICS["exact_match"], []) == []
