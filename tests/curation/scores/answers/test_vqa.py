"""VQA accuracy on hand-worked answers, and against the official script's results."""

import pytest

from curation.scores.answers.metric import AnsweredQuestion
from curation.scores.answers.vqa import normalise_answer, score_vqa


@pytest.mark.parametrize(("equal", "expected"), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1), (9, 1), (10, 1)])
def test_accuracy_by_the_number_of_people_who_agree(equal: int, expected: float) -> None:
    answers = ("red",) * equal + tuple(f"other {number}" for number in range(10 - equal))
    assert score_vqa(AnsweredQuestion("1", answers, "red")) == pytest.approx(expected)


def test_empty_answers_are_answers() -> None:
    """Of ten people two gave none. A model that gave none agrees with them, unless it could not take the question."""
    answers = ("", "") + ("red",) * 3 + ("blue",) * 5
    assert score_vqa(AnsweredQuestion("1", answers, "red")) == pytest.approx(0.9)
    assert score_vqa(AnsweredQuestion("1", answers, "")) == pytest.approx(0.6)
    assert score_vqa(AnsweredQuestion("1", answers, "", is_answered=False)) == 0


def test_answers_are_normalised_only_where_people_differ() -> None:
    assert score_vqa(AnsweredQuestion("1", ("yes",) * 10, "Yes")) == 0
    assert score_vqa(AnsweredQuestion("1", ("yes",) * 10, " yes\n")) == 1
    assert score_vqa(AnsweredQuestion("1", ("yes",) * 9 + ("no",), "Yes.")) == 1
    assert score_vqa(AnsweredQuestion("1", ("The Dog!",) * 4 + ("cat",) * 6, "a dog")) == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [  # as `processPunctuation` and `processDigitArticle` of the official script return them, run on 2026-11-30
        ("The two Dogs", "2 dogs"),
        ("none", "0"),
        ("dont know", "don't know"),
        ("couldn'tve", "couldn't've"),
        ("'ows'at", "'ow's'at"),
        ("somebody'd", "somebodyd"),
        ("hed", "he'd"),
        ("1,000 (left)", "1000 left"),
        ("1,000/2", "10002"),
        ("red/blue", "red blue"),
        ("red, blue", "red blue"),
        ("t-shirt", "t shirt"),
        ("3.5", "3.5"),
        ("u.s.", "us"),
        (".5 ok.", ".5 ok"),
        ("eleven", "eleven"),
        ("dog's", "dog's"),
        ("a", ""),
    ],
)
def test_normalisation(answer: str, expected: str) -> None:
    assert normalise_answer(answer) == expected


def test_no_more_than_32_periods_are_removed() -> None:
    """The official script's slip: 32 is the value of the flag that it passes as a count."""
    assert normalise_answer("." * 40) == "." * 8
