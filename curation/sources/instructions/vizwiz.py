"""Reads VizWiz's `train.json`, a list of questions that blind people asked about their photographs.

`{"image": "VizWiz_train_00000000.jpg", "question", "answers": [{"answer", "answer_confidence"}, ...], "answer_type",
"answerable"}`. The images are in `train`. Questions have no id. The answer is the most frequent one of ten people, and
is `unanswerable` where the photograph does not show it; all are in the metadata. The test file has no answers, so all
its rows are rejected.
"""

from collections.abc import Mapping
from typing import Any

from curation.sources.formats.image_questions import QuestionFields, make_question_reader
from curation.sources.formats.json_list import find_entry_offsets, read_entries
from curation.sources.formats.question_answer import read_object
from curation.sources.reader import SourceReader, ignore_options
from schemas.records.document import ParsedDocument

FIELDS = QuestionFields(question="question", answer="answers", image="image", has_several_answers=True)

_read_question = make_question_reader(FIELDS)


def read(item: Any) -> ParsedDocument:
    """Returns the conversation of one question. Raises `Rejected`."""
    row = read_object(item)
    answers = row.get("answers")
    if isinstance(answers, list):
        answers = [one.get("answer") if isinstance(one, Mapping) else one for one in answers]
    return _read_question({**row, "answers": answers})


SOURCE = SourceReader("vizwiz", ignore_options(read), (".json",), items=read_entries, offsets=find_entry_offsets)
