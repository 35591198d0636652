"""What a model's answer to a multiple choice is taken for."""

import pytest

from curation.scores.answers.choice import CIRCULAR_CHOICE, find_choice, score_choice
from curation.scores.answers.metric import AnsweredQuestion
from curation.scores.answers.scoring import score_answers

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


def test_a_question_in_all_orders_is_right_if_it_is_right_in_each() -> None:
    """Three questions, two of which are asked twice; one of these is right only once."""
    told = [("1", "A", "A"), ("1", "B", "(B)"), ("2", "A", "A"), ("2", "B", "A"), ("3", "C", "C")]
    questions = [
        AnsweredQuestion(str(n), (right,), given, CHOICES, group=group) for n, (group, right, given) in enumerate(told)
    ]
    found = score_answers(CIRCULAR_CHOICE, questions)
    assert {name: one.value for name, one in found.items()} == {"circular_accuracy": 2 / 3, "accuracy": 4 / 5}
