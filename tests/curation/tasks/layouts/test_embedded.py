"""Choices and places of images inside the text of a question."""

from typing import Any

import pytest

from curation.tasks.layouts.embedded import place_numbered_images, split_choices, strip_letters
from schemas.records.quarantine import Rejected


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Q?\nA. x\nB. y\nAnswer!", ("Q?", ["x", "y"])),
        ("Q?\nA. x", ("Q?", ["x"])),
        ("Q?\nA. x\nC. y", ("Q?", ["x"])),
        ("Q? A. x", ("Q? A. x", [])),
        (None, (None, [])),
    ],
)
def test_choices_in_a_text(question: Any, expected: tuple[Any, list[str]]) -> None:
    assert split_choices(question, "\nA. ", r"\n{}\. ") == expected


def test_letters_before_choices() -> None:
    assert strip_letters(["(A) x", "B. y", "C: z", "(A) w", 5]) == ["x", "y", "z", "(A) w", 5]
    assert strip_letters(None) is None


def test_numbered_images() -> None:
    row = {"q": "<image 2><image 1>", "o": "['<image 2>']", "n": 1}
    assert place_numbered_images(row, ("q", "o", "n", "p"), ["a", "b", "c"]) == {
        "q": "<image><image>",
        "o": "['<image>']",
        "n": 1,
        "images": ["b", "a", "b"],
    }
    assert place_numbered_images({"q": "none"}, ("q",), ["a", None, "c"])["images"] == ["a", "c"]
    for number, images in ((0, ["a"]), (2, ["a"]), (1, [None])):
        with pytest.raises(Rejected, match=rf"^missing_image: q shows image {number}, which is not there$"):
            place_numbered_images({"q": f"<image {number}>"}, ("q",), images)
