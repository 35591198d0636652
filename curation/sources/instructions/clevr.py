"""Reads CLEVR 1.0's `CLEVR_train_questions.json`: an object whose `questions` is a list.

`{"image_index", "image_filename": "CLEVR_train_000000.png", "question_index", "question_family_index", "question",
"answer", "split", "program"}`. The images are in `images/train`. The program by which a question was made is left out.
The test file has no answers, so all its rows are rejected.
"""

from curation.sources.formats.image_questions import QuestionFields, make_question_reader
from curation.sources.formats.json_object import find_list_offsets, read_list
from curation.sources.reader import SourceReader, ignore_options

LIST = "questions"
FIELDS = QuestionFields(
    question="question", answer="answer", image="image_filename", uid="question_index", left_out=("program",)
)

SOURCE = SourceReader(
    "clevr",
    ignore_options(make_question_reader(FIELDS)),
    (".json",),
    items=read_list(LIST),
    offsets=find_list_offsets(LIST),
)
