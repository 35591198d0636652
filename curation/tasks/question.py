"""Defines a question of an evaluation, and how a demonstration or a prompt shows it."""

from dataclasses import dataclass

from curation.scores.answers.choice import LETTERS

IMAGE_MARKER = "<image>"


@dataclass(frozen=True, slots=True)
class ImageFile:
    """Names an image file in the folder or the tar of a question set's images."""

    name: str


QuestionImage = bytes | ImageFile
"""The bytes of an image file, or where to find it."""


@dataclass(frozen=True, slots=True)
class Question:
    """Holds one question, its images and its right answers."""

    id: str
    text: str  # empty for a caption; `<image>` in it marks an image's place, else images come first
    images: tuple[QuestionImage, ...]
    answers: tuple[str, ...]  # letters, if there are choices
    choices: tuple[str, ...] = ()
    group: str = ""
    category: str = ""

    @property
    def first_answer(self) -> str:
        """Returns the answer that a demonstration shows: the first, as OpenFlamingo does."""
        return self.answers[0]

    def find_choice_text(self, letter: str) -> str:
        """Returns the text of a choice."""
        return self.choices[LETTERS.index(letter)]
