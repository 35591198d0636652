"""Reads DocVQA's `train_v1.0_withQT.json` (single pages): an object whose `data` is a list of questions.

`{"questionId", "question", "question_types", "image": "documents/xnbl0037_1.png", "docId", "ucsf_document_id",
"ucsf_document_page_no", "answers": [...], "data_split"}`; the file without `question_types` is `train_v1.0.json`.
`image` is a path below the folder of the images. `answers` are the accepted spellings of one answer: the most frequent
one is taken, or else the first. The test file has no answers, so all its rows are rejected.
"""

from curation.sources.formats.image_questions import QuestionFields, make_question_reader
from curation.sources.formats.json_object import find_list_offsets, read_list
from curation.sources.reader import SourceReader, ignore_options

LIST = "data"
FIELDS = QuestionFields(
    question="question", answer="answers", image="image", uid="questionId", has_several_answers=True
)

SOURCE = SourceReader(
    "docvqa",
    ignore_options(make_question_reader(FIELDS)),
    (".json",),
    items=read_list(LIST),
    offsets=find_list_offsets(LIST),
)
