"""Reads AI2D's `questions/*.json`, one object for each diagram, or a JSONL with such an object in each line.

`{"imageName": "0.png", "questions": {"What is A in the diagram?": {"abcLabel", "answerTexts": [4 texts],
"correctAnswer", "questionId": "0.png-0"}}}`. `correctAnswer` counts from 0. A diagram becomes one conversation.

A question with `abcLabel` asks for letters, which only the picture of that name in `abc_images` has: there, letters
replace the words of `images`. So `--images` names the folder with both. A unit of work is a file: make one JSONL of the
4,903 small files first (`jq -c . questions/*.json > ai2d.jsonl`), and leave out those of `ai2d_test_ids.csv` if the set
is used to evaluate.
"""

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from curation.sources.formats.fields import malformed_row_error
from curation.sources.formats.question_answer import (
    Exchange,
    build_conversation,
    read_choice,
    read_image_name,
    read_object,
    read_question,
)
from curation.sources.reader import SourceReader, ignore_options
from schemas.errors import UsageError
from schemas.json_text import MAX_JSON, parse_object
from schemas.records.document import ParsedDocument

_NAMES = ("answerTexts", "correctAnswer")


def read_items(file: BinaryIO) -> Iterator[Any]:
    """Yields the object of a file. Raises `UsageError`; the caller adds the file's name."""
    try:
        yield parse_object(file.read(MAX_JSON + 1), "it", MAX_JSON)
    except ValueError as error:
        raise UsageError(str(error)) from None


def read(item: Any) -> ParsedDocument:
    """Returns the conversation about one diagram. Raises `Rejected`."""
    row = read_object(item)
    name, questions = read_image_name(row.get("imageName"), "imageName").source, row.get("questions")
    assert isinstance(name, str)  # as of every name
    if not isinstance(questions, Mapping) or not questions:
        raise malformed_row_error("there is no question")
    exchanges: list[Exchange] = []
    shown = ""
    ordered = sorted(questions.items(), key=lambda question: _has_letters(question[1]))  # stable: one picture at a time
    for text, about in ordered:
        path = f"abc_images/{name}" if _has_letters(about) else f"images/{name}"
        chosen = read_choice(read_question(text), about.get(_NAMES[0]), about.get(_NAMES[1]), _NAMES)
        image = None if path == shown else read_image_name(path, "imageName")
        exchanges.append(Exchange(chosen.question, chosen.answer, image))
        shown = path
    return build_conversation(name, exchanges, {"question_ids": [about.get("questionId") for _, about in ordered]})


def _has_letters(question: Any) -> bool:
    """Returns whether a question is about the letters of a diagram. Raises `Rejected` if it is not an object."""
    if not isinstance(question, Mapping):
        raise malformed_row_error(f"a question is a {type(question).__name__}, not an object")
    return bool(question.get("abcLabel"))


SOURCE = SourceReader("ai2d", ignore_options(read), (".json", ".jsonl"), items=read_items)
