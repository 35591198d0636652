"""Finds what some benchmarks put into the text of a question: its choices, or the places of its images."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from curation.scores.answers.choice import LETTERS
from curation.tasks.question import IMAGE_MARKER
from schemas.records.quarantine import Reason, Rejected

_NUMBERED = re.compile(r"<image (\d{1,2})>")


def split_choices(question: Any, first: str, following: str) -> tuple[Any, list[str]]:
    """Returns a question without the choices in its text, and these; the whole question if it has none.

    `first` stands before the first choice; `following` is a pattern before each other one, with `{}` for its letter.
    A choice ends where the next one begins; the last one at its line's end.
    """
    if not isinstance(question, str):
        return question, []
    text, found, rest = question.partition(first)
    if not found:
        return question, []
    choices: list[str] = []
    for letter in LETTERS[1:]:
        choice, *after = re.split(following.format(letter), rest, maxsplit=1)
        if not after:
            break
        choices.append(choice.strip())
        rest = after[0]
    return text.strip(), [*choices, rest.partition("\n")[0].strip()]


def strip_letters(choices: Any) -> Any:
    """Returns a list of choices without the letters that they begin with, as in `(A) a cat`."""
    if not isinstance(choices, list):
        return choices
    return [
        re.sub(rf"^\(?{letter}[).:]\s*", "", choice) if isinstance(choice, str) else choice
        for letter, choice in zip(LETTERS, choices, strict=False)
    ]


def place_numbered_images(row: Mapping[str, Any], texts: Sequence[str], images: Sequence[Any]) -> dict[str, Any]:
    """Returns the row with `<image>` for each `<image 2>` in these columns, and its images in the order of the places.

    If a text marks no place, all images come first. Raises `Rejected` for the place of an image that is not there.
    """
    placed: dict[str, Any] = dict(row)
    shown: list[Any] = []
    for name in texts:
        if isinstance(text := row.get(name), str):
            for number in map(int, _NUMBERED.findall(text)):
                if not 1 <= number <= len(images) or images[number - 1] is None:
                    raise Rejected(Reason.MISSING_IMAGE, f"{name} shows image {number}, which is not there")
                shown.append(images[number - 1])
            placed[name] = _NUMBERED.sub(IMAGE_MARKER, text)
    placed["images"] = shown or [image for image in images if image is not None]
    return placed
