"""Renders questions and demonstrations as texts around images; the model's own template of documents or chats follows.

A document is the demonstrations and the question in a row: image, "Question: ... Short answer: dog", image, "Question:
... Short answer:". A chat has a user's and an assistant's turn for each demonstration.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from curation.format_strings import Format, parse_format
from curation.scores.answers.choice import LETTERS
from curation.tasks.options import ANSWER_FIELDS, CHOICE_FIELDS, PROMPT_FIELDS, QuestionPromptOptions
from curation.tasks.question import IMAGE_MARKER, Question, QuestionImage
from schemas.errors import UsageError

Part = str | QuestionImage


@dataclass(frozen=True, slots=True)
class Shot:
    """Holds a question as a prompt shows it, and the answer after it; None for the one that the model answers."""

    question: tuple[Part, ...]
    answer: str | None


class QuestionPrompter:
    """Renders the questions of a task."""

    def __init__(self, options: QuestionPromptOptions, shows_choice_text: bool = False) -> None:
        """Takes the task's options; with `shows_choice_text` a demonstration answers by the choice, not its letter."""
        self.options = options
        self._shows_choice_text = shows_choice_text
        self._question = parse_format(options.question, PROMPT_FIELDS)
        open_question = options.question if options.without_choices is None else options.without_choices
        self._open_question = parse_format(open_question, PROMPT_FIELDS)
        self._answer = parse_format(options.answer, ANSWER_FIELDS)
        self._choice = parse_format(options.choice, CHOICE_FIELDS)

    def build_question(self, question: Question) -> Shot:
        """Returns the question to be answered. Raises `UsageError` when places and images do not match."""
        return Shot(self._place_images(question), None)

    def build_demonstration(self, question: Question, with_images: bool = True) -> Shot:
        """Returns a question with its first answer; without its images, those of a text-only demonstration."""
        answer = self.render_answer(
            question.find_choice_text(question.first_answer) if self._shows_choice_text else question.first_answer
        )
        if with_images:
            return Shot(self._place_images(question), answer)
        text = self._render_question(question).replace(IMAGE_MARKER, "")
        return Shot((text,) if text else (), answer)

    def render_choices(self, question: Question) -> list[str]:
        """Returns each choice as an answer, to be judged by its perplexity."""
        return [self.render_answer(choice) for choice in question.choices]

    def render_answer(self, answer: str) -> str:
        """Returns an answer as a document shows it; a chat's turn has no space around its words."""
        text = _fill(self._answer, {"answer": answer})
        return text.strip() if self.options.format == "chat" else text

    def _render_question(self, question: Question) -> str:
        choices = "\n".join(
            _fill(self._choice, {"letter": letter, "choice": choice})
            for letter, choice in zip(LETTERS, question.choices, strict=False)
        )
        form = self._question if question.choices else self._open_question
        return _fill(form, {"question": question.text, "choices": choices})

    def _place_images(self, question: Question) -> tuple[Part, ...]:
        images = question.images
        pieces = self._render_question(question).split(IMAGE_MARKER)
        if len(pieces) == 1:
            return (*images, *filter(None, pieces))
        if len(pieces) - 1 != len(images):
            raise UsageError(
                f"prompt: question {question.id} has {len(pieces) - 1} times {IMAGE_MARKER}, "
                f"but {len(images)} images; leave it out of prompt.question, and the images come first"
            )
        parts: list[Part] = [pieces[0]]
        for image, piece in zip(images, pieces[1:], strict=True):
            parts += [image, piece]
        return tuple(part for part in parts if part != "")


def _fill(form: Format, values: Mapping[str, str]) -> str:
    return "".join(piece.literal + (values[piece.field] if piece.field else "") for piece in form)
