"""Reads rows that hold one question about one image and its answer of a word or two, under whatever names.

TextVQA, GQA, DocVQA, ChartQA, DVQA and CLEVR have this shape. Each declares the names of its fields.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from curation.sources.formats.fields import select_other_fields
from curation.sources.formats.question_answer import (
    SHORT_ANSWER,
    Exchange,
    build_conversation,
    read_answer,
    read_image_name,
    read_object,
    read_question,
    select_answer,
)
from schemas.records.document import ParsedDocument


@dataclass(frozen=True, slots=True)
class QuestionFields:
    """Names the fields of a row. All other fields go to the metadata, but those of `left_out`."""

    question: str
    answer: str
    image: str
    ending: str = ""  # of the image's file, where the field has the name without it
    uid: str | None = None
    has_several_answers: bool = False  # whether `answer` is a list, of which the most frequent one is taken
    left_out: tuple[str, ...] = ()


def make_question_reader(fields: QuestionFields) -> Callable[[Any], ParsedDocument]:
    """Returns the function that reads a row with these fields. It raises `Rejected`."""
    known = (fields.question, fields.image, *fields.left_out, *([] if fields.uid is None else [fields.uid]))
    known = known if fields.has_several_answers else (*known, fields.answer)  # one of several is taken: all are kept

    def read(item: Any) -> ParsedDocument:
        row = read_object(item)
        read_one = select_answer if fields.has_several_answers else read_answer
        exchange = Exchange(
            f"{read_question(row.get(fields.question), fields.question)}\n{SHORT_ANSWER}",
            read_one(row.get(fields.answer), fields.answer),
            read_image_name(row.get(fields.image), fields.image, fields.ending),
        )
        uid = None if fields.uid is None else row.get(fields.uid)
        return build_conversation(uid, [exchange], select_other_fields(row, known))

    return read
