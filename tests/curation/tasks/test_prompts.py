"""Questions and demonstrations as texts around images."""

import pytest

from curation.tasks.options import QuestionPromptOptions
from curation.tasks.prompts import QuestionPrompter, Shot
from curation.tasks.question import Question
from schemas.errors import UsageError

CHOICE = Question("1", "Which?", (b"i",), ("B",), ("a cat", "a dog"))


def prompter(**options: object) -> QuestionPrompter:
    return QuestionPrompter(QuestionPromptOptions.model_validate(options))


def test_openflamingo_prompts() -> None:
    vqa = prompter(question="Question:{question} Short answer:", answer="{answer}")
    question = Question("1", "What is it?", (b"i",), ("cat", "dog"))
    assert vqa.build_question(question) == Shot((b"i", "Question:What is it? Short answer:"), None)
    assert vqa.build_demonstration(question) == Shot((b"i", "Question:What is it? Short answer:"), "cat")
    captions = prompter(question="Output:", answer="{answer}")
    assert captions.build_demonstration(Question("1", "", (b"i",), ("A cat.",))) == Shot((b"i", "Output:"), "A cat.")


def test_text_only_demonstrations() -> None:
    one = Question("1", "<image> What?", (b"i",), ("cat",))
    assert prompter().build_demonstration(one, with_images=False) == Shot((" What?",), " cat")
    assert prompter(question="<image>").build_demonstration(one, with_images=False) == Shot((), " cat")


def test_choices() -> None:
    chat = prompter(format="chat", question="{question}\n{choices}\nAnswer by a letter.")
    assert chat.build_question(CHOICE).question == (b"i", "Which?\nA. a cat\nB. a dog\nAnswer by a letter.")
    assert chat.build_demonstration(CHOICE).answer == "B"
    assert chat.render_choices(CHOICE) == ["a cat", "a dog"]
    assert prompter().render_choices(CHOICE) == [" a cat", " a dog"]
    shown = QuestionPrompter(QuestionPromptOptions(), shows_choice_text=True)
    assert shown.build_demonstration(CHOICE).answer == " a dog"


def test_a_question_without_choices_in_a_set_that_has_some() -> None:
    mixed = prompter(question="{question}\n{choices}\nA letter:", without_choices="{question}\nA word:")
    assert mixed.build_question(CHOICE).question == (b"i", "Which?\nA. a cat\nB. a dog\nA letter:")
    assert mixed.build_question(Question("2", "What?", (b"i",), ("x",))).question == (b"i", "What?\nA word:")
    assert prompter(question="{question}!").build_question(Question("2", "What?", (), ("x",))).question == ("What?!",)
    with pytest.raises(ValueError, match=r"unknown field \{q\}: use one of question, choices"):
        prompter(without_choices="{q}")


def test_places_of_images_in_choices() -> None:
    shown = Question("1", "Which is <image>?", (b"1", b"2", b"3"), ("B",), ("<image>", "<image>"))
    assert prompter(question="{question} {choices}").build_question(shown).question == (
        *("Which is ", b"1", "? A. ", b"2", "\nB. ", b"3"),
    )


def test_places_of_images() -> None:
    two = Question("1", "Is <image> before <image>", (b"1", b"2"), ("yes",))
    assert prompter().build_question(two).question == ("Is ", b"1", " before ", b"2")
    assert prompter(question="Q: {question}?").build_question(two).question == ("Q: Is ", b"1", " before ", b"2", "?")
    assert prompter(question="{{{question}}}").build_question(CHOICE).question == (b"i", "{Which?}")
    with pytest.raises(
        UsageError,
        match=r"^prompt: question 1 has 3 times <image>, but 2 images; leave it out of prompt\.question, and",
    ):
        prompter(question="<image>{question}").build_question(two)
