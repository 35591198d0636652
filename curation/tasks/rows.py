"""Reads the row of a question file. A row that is no question of its task is rejected with a reason."""

import ast
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
from curation.tasks.layouts.layout import Fields
from curation.tasks.options import QuestionSetOptions
from curation.tasks.question import IMAGE_MARKER, ImageFile, Question, QuestionImage
from schemas.json_text import parse_json
from schemas.records.document import ParsedImage
from schemas.records.quarantine import Reason, Rejected

_IN_ANSWER = ("answer", "caption", "raw", "text")  # of an answer that is an object, as in VQAv2 and COCO
_MAX_LIST = 1 << 16  # characters of a list that is written as text, as MMMU's options are


def read_question(row: Mapping[str, Any], number: int, options: QuestionSetOptions, metric: Metric) -> Question:
    """Returns the question of a row. Raises `Rejected` for a row without what the metric or its benchmark needs."""
    columns, layout = options.columns, options.get_layout()
    fields = layout.fields
    choices = _read_choices(row, columns.choices, fields)
    answers = _read_answers(_find(row, columns.answers, fields.answers))
    if metric.has_choices or (choices and metric.may_have_choices):
        ways = fields.right_choice if options.right_choice is None else (options.right_choice,)
        answers = tuple(_find_letter(answer, choices, ways) for answer in answers)
    if len(answers) < metric.min_answers:
        raise malformed_row_error(f"it has {len(answers)} answers; {metric.name} needs {metric.min_answers}")
    images = _read_images(row, columns.images, fields)
    if layout.needs_image and not images:
        raise Rejected(Reason.MISSING_IMAGE, "it has no image")
    text = _read_text(_find(row, columns.question, fields.question), "the question")
    if layout.needs_question and not text.strip():
        raise malformed_row_error("the question is empty")
    if (places := sum(part.count(IMAGE_MARKER) for part in (text, *choices))) not in (0, len(images)):
        raise malformed_row_error(f"the question has {places} times {IMAGE_MARKER}, but {len(images)} images")
    return Question(
        id=_read_text(_find(row, columns.id, fields.id), "the id") or str(number),
        text=text,
        images=images,
        answers=answers,
        choices=choices,
        group=_read_text(_find(row, columns.group, fields.group), "the group"),
        category=_read_text(_find(row, columns.category, fields.category), "the category"),
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
    return next((row[name] for name in usual if row.get(name) is not None), None)


def _read_text(value: Any, name: str) -> str:
    """Returns a text, or a number as text; an empty one for null. Raises `Rejected`."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return read_optional_text(value, name) or ""


def _read_answers(value: Any) -> tuple[str, ...]:
    values = value if isinstance(value, list | tuple) else [] if value is None else [value]
    found = []
    for one in values:
        if isinstance(one, Mapping):
            one = next((one[name] for name in _IN_ANSWER if one.get(name) is not None), None)
        text = _read_text(one, "an answer")
        if text:
            found.append(text)
    return tuple(found)


def _read_choices(row: Mapping[str, Any], named: str | list[str] | None, fields: Fields) -> tuple[str, ...]:
    """Returns the choices: of a list, of a list that is written as text, or of a column each."""
    if isinstance(named, list):
        values = [row.get(name) for name in named]
    elif (found := _find(row, named, fields.choices)) not in (None, ""):
        values = _parse_list(found) if isinstance(found, str) else found
    else:
        values = [row.get(name) for name in fields.choice_columns]
        if all(value in (None, "") for value in values):  # a table has them under other names
            values = [row.get(letter) for letter in LETTERS]
    if not isinstance(values, list) or len(values) > len(LETTERS):
        raise malformed_row_error(f"its choices are no list of at most {len(LETTERS)} texts")
    while values and values[-1] in (None, ""):
        values = values[:-1]
    return tuple(_read_text(value, "a choice") for value in values)


def _parse_list(text: str) -> Any:
    """Returns a list of JSON or of Python's notation. Raises `Rejected`."""
    try:
        return parse_json(text, "it", _MAX_LIST)
    except ValueError:
        pass
    try:
        return ast.literal_eval(text) if len(text) <= _MAX_LIST else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise malformed_row_error(f"its choices are a text that is no list: {text[:60]!r}") from None


def _find_letter(answer: str, choices: tuple[str, ...], ways: Sequence[str]) -> str:
    """Returns the letter of the right choice, which a row gives as a letter, an index or a text. Raises `Rejected`."""
    letters = LETTERS[: len(choices)]
    for given in ways:
        if given == "index" and answer.isdecimal() and int(answer) < len(letters):
            return letters[int(answer)]
        if given == "text" and choices.count(answer) == 1:
            return letters[choices.index(answer)]
        if given == "letter" and (letter := answer.strip(" ().").upper()) in set(letters):
            return letter
    raise malformed_row_error(
        f"the answer {answer[:60]!r} is the {' or '.join(ways)} of none of its {len(choices)} choices"
    )


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
    is_name = isinstance(value, str | int) and not isinstance(value, bool)
    return fields.image_name.format(value) if is_name else value


def _locate_image(image: ParsedImage) -> QuestionImage:
    if isinstance(image.source, bytes):
        return image.source
    if not isinstance(image.source, str):
        raise image.source
    return ImageFile(image.source)
