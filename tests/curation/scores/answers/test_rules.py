"""Rules in place of an LLM that reads or judges an answer."""

import pytest

from curation.scores.answers.metric import AnsweredQuestion
from curation.scores.answers.rules import ANSWER_RULE, MM_VET_RULE, score_answer, score_parts


def question(answer: str, prediction: str, *choices: str) -> AnsweredQuestion:
    return AnsweredQuestion("1", (answer,), prediction, choices)


@pytest.mark.parametrize(
    ("answer", "prediction", "score"),
    [
        ("14", "14", 1),
        ("14", "There are 14 birds.", 1),
        ("14", "Of 14 birds, 3 fly.", 0),  # the last number is the answer
        ("14", "14.4", 1),  # as many places as the right one
        ("14", "14.6", 0),
        ("1.20", "About 1.204", 1),
        ("1.2", "1.26", 0),
        ("-5", "x = -5", 1),
        ("-5", "5", 0),
        (".5", "0.5", 1),
        ("1200", "1,200 km", 1),
        ("1,200", "1200", 1),
        ("14", "fourteen", 0),
        ("14", "", 0),
        ("yes", "Yes, it is.", 1),
        ("yes", "yesterday", 0),
        ("New  York", "It is new york.", 1),
        ("a cat.", "a cat", 1),
        ("C++", "It is C++!", 1),
        ("[1, 2]", "Between [1, 2].", 1),
        ("", "anything", 0),
    ],
)
def test_open_answers(answer: str, prediction: str, score: float) -> None:
    assert score_answer(question(answer, prediction)) == score


def test_a_question_with_choices_is_answered_by_one() -> None:
    assert score_answer(question("B", "B", "2", "1")) == 1
    assert score_answer(question("B", "(A)", "2", "1")) == 0
    assert score_answer(question("B", "It is snow", "rain", "snow")) == 1
    assert ANSWER_RULE.may_have_choices
    assert not ANSWER_RULE.has_choices
    assert not MM_VET_RULE.may_have_choices


@pytest.mark.parametrize(
    ("answer", "prediction", "score"),
    [
        ("-1<AND>-5", "x is -1 or -5", 1),
        ("-1<AND>-5", "x is -5", 0.5),
        ("-1<AND>-5", "x is 5", 0),
        ("red<OR>crimson", "It is crimson.", 1),
        ("a dog<AND>red<OR>crimson", "a crimson cat", 0.5),
        ("Yes", "yes", 1),
    ],
)
def test_parts_of_an_answer(answer: str, prediction: str, score: float) -> None:
    assert score_parts(question(answer, prediction)) == score
