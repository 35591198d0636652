"""What a model's answer to a multiple choice is taken for."""

import pytest

from curation.scores.answers.choice import find_choice, score_choice
from curation.scores.answers.metric import AnsweredQuestion

CHOICES = ("A cat", "Two dogs", "Nothing at all", "Two dogs and a bird")


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [
        ("B", "B"),
        ("(B)", "B"),
        ("B. Two dogs", "B"),
        ("The answer is C.", "C"),
        ("A", "A"),
        ("A or B", None),
        ("A picture of two nice things", None),  # an article, and the text of no choice
        ("there is nothing at all", "C"),
        ("two dogs", "B"),
        ("two dogs and a bird", None),  # the texts of two choices
        ("B is right since there are not many of them", None),  # too far from the end
        ("E", None),
        ("b", None),
        ("", None),
    ],
)
def test_the_letter_of_an_answer(prediction: str, expected: str | None) -> None:
    assert find_choice(prediction, CHOICES) == expected


def test_an_answer_that_names_no_choice_is_wrong() -> None:
    assert score_choice(AnsweredQuestion("1", ("B",), "(B)", CHOICES)) == 1
    assert score_choice(AnsweredQuestion("1", ("B",), "(C)", CHOICES)) == 0
    assert score_choice(AnsweredQuestion("1", ("B",), "who knows", CHOICES)) == 0
