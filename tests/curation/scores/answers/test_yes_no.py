"""POPE and MME on hand-worked answers."""

import pytest

from curation.scores.answers.hallusion import HALLUSION_RULE
from curation.scores.answers.metric import AnsweredQuestion
from curation.scores.answers.scoring import score_answers
from curation.scores.answers.yes_no import MME, POPE, find_yes_or_no_fault, read_mme_answer, read_pope_answer


@pytest.mark.parametrize(
    ("text", "is_yes"),
    [
        ("yes", True),
        ("No, there is none.", False),
        ("There is not a dog. Yes", False),
        ("Yes. no", True),
        ("NO", True),  # the script knows no and No
        ("Nope", True),
        ("", True),
    ],
)
def test_answers_as_pope_reads_them(text: str, is_yes: bool) -> None:
    assert read_pope_answer(text) is is_yes


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Yes", "yes"),
        (" no.", "no"),
        ("Yes, it is", "yes"),
        ("not", "no"),
        ("It is, yes", None),
        ("It no", None),
        ("", None),
    ],
)
def test_answers_as_mme_reads_them(text: str, answer: str | None) -> None:
    assert read_mme_answer(text) == answer


def test_figures_of_pope() -> None:
    """Three right yes, one false, one missed, two right no."""
    told = [("yes", "yes")] * 3 + [("no", "yes"), ("yes", "no"), ("no", "no"), ("no", "No.")]
    questions = [AnsweredQuestion(str(n), (right,), given) for n, (right, given) in enumerate(told)]
    values = {name: one.value for name, one in score_answers(POPE, questions).items()}
    assert list(values) == ["f1", "accuracy", "precision", "recall", "yes_share"]
    assert values == pytest.approx(
        {"f1": 0.75, "accuracy": 5 / 7, "precision": 0.75, "recall": 0.75, "yes_share": 4 / 7}
    )


def test_a_question_that_the_model_could_not_take_is_no_yes() -> None:
    """An answer of nothing is one: the script reads it as yes."""
    told = [("yes", True), ("yes", False), ("no", False)]
    questions = [AnsweredQuestion(str(n), (right,), "", is_answered=done) for n, (right, done) in enumerate(told)]
    values = {name: one.value for name, one in score_answers(POPE, questions).items()}
    assert values == pytest.approx(
        {"f1": 2 / 3, "accuracy": 1 / 3, "precision": 1, "recall": 1 / 2, "yes_share": 1 / 3}
    )


@pytest.mark.parametrize(
    ("answers", "fault"),
    [
        (("Yes",), None),
        ((" no ", "NO"), None),
        (("yes", "no"), "the answer 'no, yes' is neither yes nor no"),
        (("1",), "the answer '1' is neither yes nor no"),
    ],
)
def test_right_answers(answers: tuple[str, ...], fault: str | None) -> None:
    assert find_yes_or_no_fault(answers) == fault
    assert POPE.find_fault is MME.find_fault is HALLUSION_RULE.find_fault is find_yes_or_no_fault


def test_an_image_of_mme_needs_both_questions() -> None:
    """One of them is quarantined: the script counts images of which two questions are right."""
    found = score_answers(MME, [AnsweredQuestion("1", ("yes",), "yes", group="a", category="OCR")])
    assert {name: found[name].value for name in ("accuracy", "accuracy_plus", "perception")} == {
        "accuracy": 1,
        "accuracy_plus": 0,
        "perception": 1,
    }


def test_figures_of_mme() -> None:
    """A category with both questions of one of two images right, and a category with an image half right."""
    told = [("count", "1", "yes"), ("count", "1", "no"), ("count", "2", "yes"), ("count", "2", "yes")]
    told += [("color", "3", "no"), ("color", "3", "other")]
    rights = ("yes", "no", "yes", "no", "no", "yes")
    questions = [
        AnsweredQuestion(str(n), (right,), given, group=image, category=category)
        for n, ((category, image, given), right) in enumerate(zip(told, rights, strict=True))
    ]
    found = score_answers(MME, questions)
    assert found["accuracy"].value == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert found["accuracy_plus"].value == pytest.approx((1 / 2 + 0) / 2)
    assert found["normalised"].value == pytest.approx((3 / 4 + 1 / 2 + 1 / 2 + 0) / 4)
    assert found["perception"].value == pytest.approx(3 / 4 + 1 / 2 + 1 / 2 + 0)
    assert found["cognition"].value is None


def answer_mme(category: str, image: str, first: str, second: str) -> list[AnsweredQuestion]:
    """Both questions of an image, of which yes and no are right."""
    return [
        AnsweredQuestion(f"{image}{n}", (right,), given, group=image, category=category)
        for n, (right, given) in enumerate((("yes", first), ("no", second)))
    ]


def test_perception_and_cognition_of_mme() -> None:
    """As `calculation.py` sums them: for each subtask its accuracy and its accuracy+, times 100."""
    questions = [
        *answer_mme("OCR", "a", "yes", "no"),  # 1 and 1
        *answer_mme("OCR", "b", "yes", "yes"),  # with it 3/4 and 1/2
        *answer_mme("existence", "c", "no", "no"),  # 1/2 and 0
        *answer_mme("code_reasoning", "d", "yes", "no"),  # 1 and 1
        *answer_mme("text translation", "e", "no", "yes"),  # nothing
        *answer_mme("another", "f", "yes", "no"),  # of neither part
    ]
    found = score_answers(MME, questions)
    assert found["perception"].value == pytest.approx(3 / 4 + 1 / 2 + 1 / 2 + 0)
    assert found["cognition"].value == pytest.approx(2.0)
    assert found["normalised"].value == pytest.approx((1.75 + 2 + 2) / 10)
