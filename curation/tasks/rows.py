"""Reads the row of a question file. A row that is no question of its task is rejected with a reason."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from curation.scores.answers.choice import LETTERS
from curation.scores.answers.metric import Metric
from curation.sources.formats.fields import malformed_row_error, read_optional_text
from curation.sources.formats.row_images import (
    find_image_fields,
    is_present,
    read_row_image,
    read_row_images,
)
from curation.tasks.encoded_images import MAX_NAME, decode_image, is_name
from curation.tasks.layouts.layout import Fields
from curation.tasks.options import QuestionSetOptions
from curation.tasks.question import IMAGE_MARKER, ImageFile, Question, QuestionImage
from curation.tasks.written_lists import parse_list
from schemas.records.document import ParsedImage
from schemas.records.quarantine import Reason, Rejected
from schemas.records.training_text import is_number
from schemas.records.uid import to_uid

_IN_ANSWER = ("answer", "caption", "raw", "text")  # of an answer that is an object, as in VQAv2 and COCO
_MIN_CHOICES = 2


def read_question(row: Mapping[str, Any], number: int, options: QuestionSetOptions, metric: Metric) -> Question:
    """Returns the question of a row. Raises `Rejected` for a row without what the metric or its benchmark needs."""
    columns, layout = options.columns, options.get_layout()
    fields = layout.fields
    choices = _read_choices(row, columns.choices, fields)
    answers = _read_answers(_find(row, columns.answers, fields.answers), keeps_empty=metric.counts_people)
    if metric.has_choices or (choices and metric.may_have_choices):
        ways = fields.right_choice if options.right_choice is None else (options.right_choice,)
        answers = tuple(_find_letter(answer, choices, ways) for answer in answers)
    if len(answers) < metric.min_answers:
        raise malformed_row_error(f"it has {len(answers)} answers; {metric.name} needs {metric.min_answers}")
    if metric.has_choices and len(choices) < _MIN_CHOICES:
        raise malformed_row_error(f"it has {len(choices)} choices; {metric.name} needs {_MIN_CHOICES}")
    if metric.find_fault is not None and (fault := metric.find_fault(answers)):
        raise malformed_row_error(fault)
    images = _read_images(row, columns.images, fields)
    if layout.needs_image and not images:
        raise Rejected(Reason.MISSING_IMAGE, "it has no image")
    text = _read_text(_find(row, columns.question, fields.question), "the question")
    if layout.needs_question and not text.strip():
        raise malformed_row_error("the question is empty")
    if (places := sum(part.count(IMAGE_MARKER) for part in (text, *choices))) not in (0, len(images)):
        raise malformed_row_error(f"the question has {places} times {IMAGE_MARKER}, but {len(images)} images")
    return Question(
        id=_read_name(_find(row, columns.id, fields.id), "the id") or str(number),
        text=text,
        images=images,
        answers=answers,
        choices=choices,
        group=_read_name(_find(row, columns.group, fields.group), "the group"),
        category=_read_name(_find(row, columns.category, fields.category), "the category"),
    )


def is_of_split(row: Mapping[str, Any], options: QuestionSetOptions) -> bool:
    """Returns whether a row belongs to the splits that a set asks for. A row that names none is of its file's split."""
    split = _find(row, None, options.get_layout().fields.split)
    return not options.split or split is None or split in options.split


def _find(row: Mapping[str, Any], named: str | None, usual: Sequence[str]) -> Any:
    """Returns the value of a column that the task names, or of the first usual one. Raises `Rejected`."""
    if named is not None:
        if named not in row:
            raise malformed_row_error(f"it has no {named}")
        return row[named]
    return next((row[name] for name in usual if not _is_empty(row.get(name))), None)


def _is_empty(value: Any) -> bool:
    """Returns whether a column has no value: null, NaN, which pandas writes for it, an empty text or an empty list."""
    return value is None or (isinstance(value, float) and math.isnan(value)) or value in ("", [])


def _read_text(value: Any, name: str) -> str:
    """Returns a text, or a number as text; an empty one for null and NaN. Raises `Rejected`."""
    if _is_empty(value):
        return ""
    return str(value) if is_number(value) else read_optional_text(value, name) or ""


def _read_name(value: Any, name: str) -> str:
    """Returns a text as `_read_text` does, and a whole number as its digits: a column with gaps has 12.0 for 12."""
    return to_uid(value) or "" if is_number(value) else _read_text(value, name)


def _read_answers(value: Any, keeps_empty: bool) -> tuple[str, ...]:
    """Returns the answers. Empty ones are none; with `keeps_empty` they are, beside others: each is a person's."""
    values = value if isinstance(value, list | tuple) else [] if value is None else [value]
    found = []
    for one in values:
        if isinstance(one, Mapping):
            one = next((one[name] for name in _IN_ANSWER if one.get(name) is not None), None)
        text = _read_text(one, "an answer")
        if text.strip() or (keeps_empty and one is not None):
            found.append(text)
    return tuple(found) if any(text.strip() for text in found) else ()


def _read_choices(row: Mapping[str, Any], named: str | list[str] | None, fields: Fields) -> tuple[str, ...]:
    """Returns the choices: of a list, of a list that is written as text, or of a column each."""
    if isinstance(named, list):
        values = [row.get(name) for name in named]
    elif not _is_empty(found := _find(row, named, fields.choices)):
        values = _order_choices(found)
    else:
        values = [row.get(name) for name in fields.choice_columns]
        if all(map(_is_empty, values)):  # a table has them under other names
            values = [row.get(letter) for letter in LETTERS]
    if not isinstance(values, list) or len(values) > len(LETTERS):
        raise malformed_row_error(f"its choices are no list of at most {len(LETTERS)} texts")
    while values and _is_empty(values[-1]):
        values = values[:-1]
    choices = tuple(_read_text(value, "a choice") for value in values)
    if empty := [letter for letter, choice in zip(LETTERS, choices, strict=False) if not choice.strip()]:
        raise malformed_row_error(f"its choice {empty[0]} is empty, and a later one is not")
    return choices


def _order_choices(found: Any) -> Any:
    """Returns choices in the order of their letters, of a list, a list that is written as text, or an object by letter.

    Raises `Rejected` for a text that is no list.
    """
    if isinstance(found, str):
        if (values := parse_list(found)) is None:
            raise malformed_row_error(f"its choices are a text that is no list: {found[:60]!r}")
        return values
    if isinstance(found, Mapping) and found.keys() <= set(LETTERS):
        return [found.get(letter) for letter in LETTERS]
    return found


def _find_letter(answer: str, choices: tuple[str, ...], ways: Sequence[str]) -> str:
    """Returns the letter of the right choice, which a row gives as a letter, an index or a text. Raises `Rejected`."""
    letters = LETTERS[: len(choices)]
    for given in ways:
        if given == "index" and (place := _read_index(answer)) is not None and place < len(letters):
            return letters[place]
        if given == "text" and choices.count(answer) == 1:
            return letters[choices.index(answer)]
        if given == "letter" and (letter := answer.strip(" ().").upper()) in set(letters):
            return letter
    raise malformed_row_error(
        f"the answer {answer[:60]!r} is the {' or '.join(ways)} of none of its {len(choices)} choices"
    )


def _read_index(answer: str) -> int | None:
    """Returns the number that an answer is, `2`, or `2.0` of a column with gaps; None if it is none."""
    digits = answer.strip().removesuffix(".0")
    return int(digits) if digits.isdecimal() and len(digits) <= len(str(len(LETTERS))) else None


def _read_images(row: Mapping[str, Any], named: str | None, fields: Fields) -> tuple[QuestionImage, ...]:
    if named is None and fields.images is None:
        found = read_row_images(row) if find_image_fields(row) else []
        return tuple(map(_locate_image, found))
    if named is not None:
        value = _find(row, named, ())
        values = value if isinstance(value, list) else [] if value is None else [value]
    else:
        values = _find_images(row, fields)
    return tuple(
        _locate_image(read_row_image(_name_image(one, fields), f"image {place}")) for place, one in enumerate(values)
    )


def _find_images(row: Mapping[str, Any], fields: Fields) -> list[Any]:
    """Returns the values of the columns with an image each, or of the first one with all images."""
    if several := [row[name] for name in fields.image_columns if is_present(row.get(name))]:
        return several
    value = next((row[name] for name in fields.images or () if is_present(row.get(name))), None)
    return value if isinstance(value, list) else [] if value is None else [value]


def _name_image(value: Any, fields: Fields) -> Any:
    name = to_uid(value) if is_number(value) else value
    return fields.image_name.format(name) if isinstance(name, str) else value


def _locate_image(image: ParsedImage) -> QuestionImage:
    """Returns the bytes of an image, also of one in base64, or its name."""
    source = image.source
    if isinstance(source, bytes):
        return source
    if not isinstance(source, str):
        raise source
    return ImageFile(source) if len(source) <= MAX_NAME or is_name(source) else decode_image(source)
