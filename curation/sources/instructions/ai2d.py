"""Reads AI2D's `questions/*.json`, one object for each diagram, or a JSONL with such an object in each line.

`{"imageName": "0.png", "questions": {"What is A in the diagram?": {"abcLabel", "answerTexts": [4 texts],
"correctAnswer", "questionId": "0.png-0"}}}`. `correctAnswer` counts from 0. A diagram becomes one conversation.

A question with `abcLabel` asks for letters, which only the picture of that name in `abc_images` has: there, letters
replace the words of `images`. So `--images` names the folder with both. A unit of work is a file: make one JSONL of the
4,903 small files first (`jq -c . questions/*.json > ai2d.jsonl`), and leave out those of `ai2d_test_ids.csv` if the set
is used to evaluate.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class DiagramQuestion:
    """Holds a question about a diagram, with the path of the picture that it is about."""

    text: str
    image: str
    about: Mapping[str, Any]


def list_questions(row: Mapping[str, Any]) -> list[DiagramQuestion]:
    """Returns the questions of a diagram, those about letters last. Raises `Rejected` if there is none."""
    name, questions = read_image_name(row.get("imageName"), "imageName").source, row.get("questions")
    assert isinstance(name, str)  # as of every name
    if not isinstance(questions, Mapping) or not questions:
        raise malformed_row_error("there is no question")
    found = [
        DiagramQuestion(text, f"{'abc_images' if _has_letters(about) else 'images'}/{name}", about)
        for text, about in questions.items()
    ]
    return sorted(found, key=lambda asked: _has_letters(asked.about))  # stable: one picture at a time


def read(item: Any) -> ParsedDocument:
    """Returns the conversation about one diagram. Raises `Rejected`."""
    row = read_object(item)
    questions = list_questions(row)
    exchanges: list[Exchange] = []
    shown = ""
    for asked in questions:
        about = asked.about
        chosen = read_choice(read_question(asked.text), about.get(_NAMES[0]), about.get(_NAMES[1]), _NAMES)
        image = None if asked.image == shown else read_image_name(asked.image, "imageName")
        exchanges.append(Exchange(chosen.question, chosen.answer, image))
        shown = asked.image
    uids = [asked.about.get("questionId") for asked in questions]
    return build_conversation(row.get("imageName"), exchanges, {"question_ids": uids})


def _has_letters(question: Any) -> bool:
    """Returns whether a question is about the letters of a diagram. Raises `Rejected` if it is not an object."""
    if not isinstance(question, Mapping):
        raise malformed_row_error(f"a question is a {type(question).__name__}, not an object")
    return bool(question.get("abcLabel"))


SOURCE = SourceReader("ai2d", ignore_options(read), (".json", ".jsonl"), items=read_items)
