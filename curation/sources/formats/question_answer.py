"""Builds conversations from rows that hold questions and answers, most of them about one image.

A row is rejected as a whole: without a question, an answer or the image that it names, no part of it can be trained on.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from curation.sources.formats.fields import (
    dump_metadata,
    malformed_row_error,
    parse_json_object,
    read_optional_list,
    read_optional_text,
    read_training_text,
)
from curation.sources.formats.row_images import is_present, read_row_image
from schemas.records.document import ParsedDocument, ParsedImage, Part, Role
from schemas.records.quarantine import Reason, Rejected
from schemas.records.uid import to_uid

SHORT_ANSWER = "Answer the question using a single word or phrase."
"""What LLaVA-1.5 (arXiv 2310.03744, section 3.2) writes below a question whose answer is a word or two."""

OPTION_LETTER = "Answer with the option's letter from the given choices directly."
"""What LLaVA-1.5 writes below the options of a question."""

_LETTERS = "ABCDEFGHIJ"


@dataclass(frozen=True, slots=True)
class Exchange:
    """Holds a question and its answer. With `image`, the image is shown before the question."""

    question: str
    answer: str
    image: ParsedImage | None = None


def read_object(item: Any) -> Mapping[str, Any]:
    """Returns the fields of one object, of one line of JSONL, or of one row of Parquet. Raises `Rejected`."""
    if isinstance(item, str | bytes):
        item = parse_json_object(item, "the line")
    if not isinstance(item, Mapping):
        raise malformed_row_error(f"a {type(item).__name__}, not an object")
    return item


def build_conversation(
    uid: Any, exchanges: Sequence[Exchange], metadata: Mapping[str, Any], system: str | None = None
) -> ParsedDocument:
    """Returns the conversation of these exchanges, which begins with the system prompt if there is one."""
    parts: list[Part] = []
    roles: list[Role] = []
    images: list[ParsedImage] = []
    if system:
        parts, roles = [system], ["system"]
    for exchange in exchanges:
        asked: list[Part] = [exchange.question]
        if exchange.image is not None:
            asked.insert(0, len(images))
            images.append(exchange.image)
        parts += asked
        roles += ["user"] * len(asked)
        parts.append(exchange.answer)
        roles.append("assistant")
    return ParsedDocument(to_uid(uid) or None, None, tuple(parts), tuple(images), dump_metadata(metadata), tuple(roles))


def read_image_name(value: Any, name: str, ending: str = "") -> ParsedImage:
    """Returns the image of a file name or a number, with the ending that the row leaves out. Raises `Rejected`."""
    text = to_uid(value) if isinstance(value, int | float) else read_optional_text(value, name)
    if not text:
        raise Rejected(Reason.MISSING_IMAGE, f"there is no {name}")
    address = f"{text}{ending}"
    return ParsedImage(address, metadata=dump_metadata({"path": address}))


def read_stored_image(value: Any, name: str) -> ParsedImage:
    """Returns the image of a field with bytes or a path, as Hugging Face `datasets` stores it. Raises `Rejected`."""
    if not is_present(value):
        raise Rejected(Reason.MISSING_IMAGE, f"there is no {name}")
    return read_row_image(value, name)


def read_question(value: Any, name: str = "question") -> str:
    """Returns a question without surrounding white space. Raises `Rejected`."""
    return _read_said(value, name)


def read_answer(value: Any, name: str = "answer") -> str:
    """Returns an answer without surrounding white space; a number as text. Raises `Rejected`."""
    return _read_said(value, name)


def select_answer(values: Any, name: str = "answers") -> str:
    """Returns the most frequent of several people's answers, the first of those that are equally frequent.

    Answers that differ only in case or white space count as one, of which the most frequent spelling is returned. Empty
    ones do not count. Raises `Rejected` if none is left.
    """
    texts = [
        (read_training_text(value, f"{name}[{number}]") or "").strip()
        for number, value in enumerate(read_optional_list(values, name))
    ]
    spellings: dict[str, Counter[str]] = {}
    for text in filter(None, texts):
        spellings.setdefault(" ".join(text.casefold().split()), Counter())[text] += 1
    if not spellings:
        raise malformed_row_error(f"there is no answer: {name} is empty")
    chosen = max(spellings.values(), key=Counter.total)  # the first of equals, as `most_common` below
    return chosen.most_common(1)[0][0]


def read_choice(question: str, choices: Any, correct: Any, names: tuple[str, str]) -> Exchange:
    """Returns the exchange of a question with options, whose answer is the letter of the correct one.

    `correct` counts from 0. `names` are those of the two fields. Raises `Rejected` for a number that no option has.
    """
    options = [
        _read_said(value, f"{names[0]}[{number}]") for number, value in enumerate(read_optional_list(choices, names[0]))
    ]
    if not 2 <= len(options) <= len(_LETTERS):
        raise malformed_row_error(f"{names[0]} has {len(options)} entries, not 2 to {len(_LETTERS)}")
    if isinstance(correct, float) and correct.is_integer():
        correct = int(correct)
    if correct is None:
        raise malformed_row_error(f"there is no answer: {names[1]} is null")
    if isinstance(correct, bool) or not isinstance(correct, int) or not 0 <= correct < len(options):
        raise malformed_row_error(f"{names[1]} is {str(correct)[:50]!r}, not a number from 0 to {len(options) - 1}")
    lines = [f"{letter}. {option}" for letter, option in zip(_LETTERS, options, strict=False)]
    return Exchange("\n".join([question, *lines, OPTION_LETTER]), _LETTERS[correct])


def check_pixel_box(value: Any, name: str) -> None:
    """Raises `Rejected` unless the value is empty or `[x, y, width, height]` in pixels, as a row without a box is."""
    box = read_optional_list(value, name)
    if box and not (len(box) == 4 and all(_is_pixels(number) for number in box)):
        raise malformed_row_error(f"{name} is not [x, y, width, height]: {str(box)[:100]}")


def check_split(row: Mapping[str, Any], name: str, training: Any) -> None:
    """Raises `Rejected` for a row of another split than that for training, of files that hold all splits."""
    split = row.get(name)
    if split != training:
        raise Rejected(Reason.OTHER_SPLIT, f"{name} is {str(split)[:50]!r}; {training!r} is for training")


def _is_pixels(number: Any) -> bool:
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    return is_number and math.isfinite(number) and number >= 0


def _read_said(value: Any, name: str) -> str:
    text = (read_training_text(value, name) or "").strip()
    if not text:
        raise malformed_row_error(f"there is no {name}")
    return text
