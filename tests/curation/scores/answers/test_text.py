"""Scores of short texts, worked by hand."""

import pytest

from curation.scores.answers.metric import AnsweredQuestion
from curation.scores.answers.scoring import score_answers
from curation.scores.answers.text import ERROR_RATES, count_errors, score_anls, score_exact_match, score_relaxed


def ask(prediction: str, *answers: str) -> AnsweredQuestion:
    return AnsweredQuestion("1", answers, prediction)


@pytest.mark.parametrize(
    ("prediction", "answers", "expected"),
    [
        (" The  Dog.", ("the dog",), 1),
        ("cafe\u0301", ("café",), 1),
        ("dog", ("cat", "dog"), 1),
        ("a dog", ("dog",), 0),
        ("", ("dog",), 0),
        ("", (".",), 0),
        ("3.", ("3",), 1),
    ],
)
def test_exact_match(prediction: str, answers: tuple[str, ...], expected: float) -> None:
    assert score_exact_match(ask(prediction, *answers)) == expected


@pytest.mark.parametrize(
    ("prediction", "answers", "expected"),
    [
        ("Johnson", ("johnson",), 1),
        ("jonson", ("johnson",), 6 / 7),  # one edit of seven letters
        ("john", ("johnson", "john x"), 4 / 6),
        ("ab", ("abcd",), 0.5),  # at the threshold
        ("a", ("abc",), 0),  # below it
        ("a  b", ("a b",), 1),
        ("", ("abc",), 0),
        ("", ("",), 1),
        ("abc   ", ("abd",), 5 / 6),  # the length is that of the text as given
        ("straße", ("straßx",), 6 / 7),  # and in upper case, where the sharp s has two letters
    ],
)
def test_anls(prediction: str, answers: tuple[str, ...], expected: float) -> None:
    assert score_anls(ask(prediction, *answers)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("prediction", "answers", "expected"),
    [
        ("10.5", ("10",), 1),
        ("10.51", ("10",), 0),
        ("9.5", ("10",), 1),
        ("-9.6", ("-10",), 1),
        ("12%", ("0.12",), 1),
        ("12", ("12%",), 0),
        ("0", ("0",), 1),
        ("0.0", ("0",), 0),  # no change relative to 0
        ("Yes", ("yes",), 1),
        ("1,000", ("1000",), 0),
        ("1,000", ("1,000",), 1),
        ("2011", ("2010",), 1),  # a year is a number
        ("50%", ("0.48",), 1),
        ("5%", ("5",), 0),
        ("$5", ("5",), 0),
        ("1e1", ("10",), 1),
        ("5", ("nan",), 0),
        ("-10", ("10",), 0),
        ("nan", ("5",), 0),
        ("blue", ("red", "Blue"), 1),
    ],
)
def test_relaxed_accuracy(prediction: str, answers: tuple[str, ...], expected: float) -> None:
    assert score_relaxed(ask(prediction, *answers)) == expected


def test_error_rates_are_ratios_of_sums() -> None:
    """As `cer` and `wer` of jiwer 4.0.0 gave them on 2026-11-30; of two answers, the nearer one counts."""
    questions = [
        AnsweredQuestion("1", ("a red bus",), "a  read bus "),
        AnsweredQuestion("2", ("halt", "stop"), "shop"),
        AnsweredQuestion("3", ("ab",), ""),
    ]
    assert count_errors(questions[0]) == {"character_errors": 2, "characters": 9, "word_errors": 1, "words": 3}
    found = score_answers(ERROR_RATES, questions)
    assert found["cer"].value == pytest.approx(0.3333333333333333)
    assert found["wer"].value == pytest.approx(0.6)
