"""Reads DVQA's `train_qa.json`, a list of questions about drawn bar charts.

`{"image": "bar_train_00000001.png", "question", "answer", "question_type", "template_id", "question_id",
"bbox_answer": [x, y, width, height]}`. The box, in pixels of the image, is that of an answer that is written in the
chart, or else `[]`. The publisher's README calls it `bbox_answer`; `answer_bbox` is read too. A row whose box is
something else is rejected, since it is not of this layout. All images are in one folder, `images`.
"""

from typing import Any

from curation.sources.formats.image_questions import QuestionFields, make_question_reader
from curation.sources.formats.json_list import find_entry_offsets, read_entries
from curation.sources.formats.question_answer import check_pixel_box, read_object
from curation.sources.reader import SourceReader, ignore_options
from schemas.records.document import ParsedDocument

FIELDS = QuestionFields(question="question", answer="answer", image="image", uid="question_id")

_read_question = make_question_reader(FIELDS)


def read(item: Any) -> ParsedDocument:
    """Returns the conversation of one question. Raises `Rejected`."""
    row = read_object(item)
    for name in ("bbox_answer", "answer_bbox"):
        check_pixel_box(row.get(name), name)
    return _read_question(row)


SOURCE = SourceReader("dvqa", ignore_options(read), (".json",), items=read_entries, offsets=find_entry_offsets)
