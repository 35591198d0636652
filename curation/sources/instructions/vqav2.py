"""Reads VQAv2's `v2_OpenEnded_mscoco_train2014_questions.json`, joined with `v2_mscoco_train2014_annotations.json`.

The first is an object whose `questions` is a list of `{"image_id", "question", "question_id"}`, the second one whose
`annotations` is a list of `{"question_id", "image_id", "question_type", "answer_type", "multiple_choice_answer",
"answers": [{"answer", "answer_confidence", "answer_id"}, ...]}`. Both are in one folder. The image is
`COCO_train2014_{image_id}.jpg`, with twelve digits. The answer is the most frequent one of ten people; all are in the
metadata. Files of other splits, which are evaluated on, are refused.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from curation.sources.formats.fields import malformed_row_error
from curation.sources.formats.image_questions import QuestionFields, make_question_reader
from curation.sources.formats.joined_file import JoinedFile
from curation.sources.formats.json_object import find_list_offsets, read_list
from curation.sources.formats.question_answer import read_object
from curation.sources.reader import SourceReader, ignore_options
from schemas.errors import UsageError
from schemas.records.document import ParsedDocument
from schemas.records.uid import to_uid

LIST = "questions"
KEY = "question_id"
FIELDS = QuestionFields(
    question="question", answer="answers", image="image", uid=KEY, has_several_answers=True, left_out=("image_id",)
)

_NAME = re.compile(r"(v2_)?OpenEnded_mscoco_train2014_questions\.json")
_read_question = make_question_reader(FIELDS)


def find_annotations(name: str) -> str:
    """Returns the name of the annotations of a file of questions. Raises `UsageError` for that of another split."""
    found = _NAME.fullmatch(name)
    if found is None:
        raise UsageError("the questions for training are in *OpenEnded_mscoco_train2014_questions.json alone")
    return f"{found[1] or ''}mscoco_train2014_annotations.json"


def make_reader(name: str, answer: str) -> SourceReader:
    """Returns the source of a set in VQA's layout; `answer` is the field that has what a person said."""
    return SourceReader(
        name,
        ignore_options(_make_read(answer)),
        (".json",),
        items=read_list(LIST),
        offsets=find_list_offsets(LIST),
        joined=JoinedFile(find_annotations, read_list("annotations"), KEY),
    )


def _make_read(field: str) -> Callable[[Any], ParsedDocument]:
    def read(item: Any) -> ParsedDocument:
        row = read_object(item)
        number, answers = to_uid(row.get("image_id")), row.get("answers")
        if number and not (number.isascii() and number.isdigit()):
            raise malformed_row_error("image_id is not a whole number")
        if isinstance(answers, list):
            answers = [one.get(field) if isinstance(one, Mapping) else one for one in answers]
        image = number and f"COCO_train2014_{number.zfill(12)}.jpg"
        return _read_question({**row, "answers": answers, "image": image})

    return read


SOURCE = make_reader("vqav2", "answer")
