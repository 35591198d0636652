"""Reads TextVQA 0.5.1, `TextVQA_0.5.1_train.json`: an object whose `data` is a list of questions.

`{"question", "image_id", "image_classes", "flickr_original_url", "flickr_300k_url", "image_width", "image_height",
"answers": [10 texts], "question_tokens", "question_id", "set_name"}`. The image is `{image_id}.jpg` in `train_images`,
also for the questions of `val`. The answer is the most frequent one of ten people; all are in the metadata.
"""

from curation.sources.formats.image_questions import QuestionFields, make_question_reader
from curation.sources.formats.json_object import find_list_offsets, read_list
from curation.sources.reader import SourceReader, ignore_options

LIST = "data"
FIELDS = QuestionFields(
    question="question",
    answer="answers",
    image="image_id",
    ending=".jpg",
    uid="question_id",
    has_several_answers=True,
    left_out=("question_tokens",),
)

SOURCE = SourceReader(
    "textvqa",
    ignore_options(make_question_reader(FIELDS)),
    (".json",),
    items=read_list(LIST),
    offsets=find_list_offsets(LIST),
)
