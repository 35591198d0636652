"""What the fields of a prompt print, and how much of it."""

import pytest

from curation.engines.captions.prompts import FIELDS, MAX_FIELD_CHARACTERS, parse_prompt
from schemas.errors import UsageError

BOX = {"x1": 0.0, "y1": 0.25, "x2": 0.5, "y2": 1.5}
HELD = {
    "caption": "a dog, 10 km",
    "ocr": [{"text": "OPEN {now}"} | BOX, {"text": "24 h"} | BOX],
    "tags": [{"name": "dog"}, {"name": "cat"}, {"name": "dog"}],
    "boxes": [{"label": "dog"} | BOX],
    "dense": "A {dog}.",
}


def fill(text: str, stages: tuple[str, ...] = ("ocr", "tags", "boxes", "dense")) -> str:
    return parse_prompt(text.encode(), "prompt", stages).fill(HELD)


def test_what_the_fields_print() -> None:
    assert {name: fill(f"{{{name}}}") for name in FIELDS} == {
        "alt_text": "a dog, 10 km",
        "ocr": "OPEN {now}\n24 h",
        "ocr_boxes": "OPEN {now} [0, 250, 500, 999]\n24 h [0, 250, 500, 999]",
        "tags": "dog, cat",
        "boxes": "dog [0, 250, 500, 999]",
    }
    assert fill("Text: {ocr}\n{{braces}} and {dense}\n") == "Text: OPEN {now}\n24 h\n{braces} and A {dog}."


def test_what_a_field_prints_is_bounded() -> None:
    long = {"caption": "x" * 5000, "dense": "y" * 5000, "tags": [{"name": f"t{n}"} for n in range(500)]}
    prompt = parse_prompt(b"{alt_text}|{dense}|{tags}", "prompt", ["tags", "dense"])
    alt_text, dense, tags = prompt.fill(long).split("|")
    assert (len(alt_text), len(dense), len(tags.split(", "))) == (MAX_FIELD_CHARACTERS, MAX_FIELD_CHARACTERS, 100)


def test_the_inputs_of_a_prompt() -> None:
    prompt = parse_prompt(b"{ocr}{alt_text}{ocr_boxes}{dense}", "prompt", ["ocr", "dense"])
    assert prompt.list_inputs() == ["ocr", "dense"]


def test_only_earlier_stages_have_fields() -> None:
    with pytest.raises(UsageError) as error:
        fill("{boxes}", ("tags", "dense"))
    assert str(error.value) == "prompt: unknown field {boxes}: use one of alt_text, tags, dense"
    with pytest.raises(UsageError, match="it has more than 65,536 bytes"):
        parse_prompt(b"x" * 65_537, "prompt", [])
