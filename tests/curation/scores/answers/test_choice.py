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
        ("two dogs and a bird", "D"),  # the text of one choice is inside another's
        ("It shows two dogs and a bird.", "D"),
        ("two dogs, or two dogs and a bird", None),  # the texts of two choices
        ("答案是B。", "B"),
        ("（Ｂ）两只狗", "B"),
        ("选 B", "B"),
        ("정답은 B입니다", "B"),
        ("图中有一只A和两只B", None),
        ("答案是A", "A"),  # no article
        ("Answer: B", "B"),
        ("B)", "B"),
        ("**B**", "B"),
        ("\\boxed{B}", "B"),
        ("A is right", "A"),
        ("A is right here", None),  # of more than three words, in which it may be an article
        ("B is right here", "B"),
        ("B is the right one", None),  # too far from the end
        ("so B is the right one", None),
        ("E", None),
        ("b", None),
        ("", None),
    ],
)
def test_the_letter_of_an_answer(prediction: str, expected: str | None) -> None:
    assert find_choice(prediction, CHOICES) == expected


@pytest.mark.parametrize(
    ("prediction", "choices", "expected"),
    [
        ("a red car", ("car", "red car", "bus"), "B"),
        ("red car park", ("red car", "car park"), None),  # the texts overlap, and neither is inside the other
        ("car", ("car", "car"), None),
        ("I am not sure", ("no", "not sure", "sure"), "B"),
        ("10", ("1", "10", "0"), "B"),
        ("1 or 10", ("1", "10", "0"), None),
        ("一只猫", ("猫", "一只猫", "狗"), "B"),
        ("", ("", "x"), None),  # of rows that were stored before such choices were refused
    ],
)
def test_choices_that_contain_each_other(prediction: str, choices: tuple[str, ...], expected: str | None) -> None:
    assert find_choice(prediction, choices) == expected


def test_letters_up_to_the_last_one() -> None:
    choices = tuple(f"choice number {number}" for number in range(100, 126))
    assert [find_choice(f"({letter})", choices) for letter in "HIZ"] == ["H", "I", "Z"]
    assert find_choice("(Z)", choices[:25]) is None


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
