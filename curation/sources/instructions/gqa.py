"""Reads GQA's `train_balanced_questions.json`: an object with a member for each question, named by its id.

`{"question", "imageId", "answer", "fullAnswer", "isBalanced", "groups", "entailed", "equivalent", "types",
"annotations", "semantic", "semanticStr"}`. The image is `{imageId}.jpg` in `images`. The answer is the short one;
`fullAnswer`, a sentence, is in the metadata. What only says how the question was made is left out.
"""

from curation.sources.formats.image_questions import QuestionFields, make_question_reader
from curation.sources.formats.json_object import find_member_offsets, read_named_objects
from curation.sources.reader import SourceReader, ignore_options

ID = "questionId"
FIELDS = QuestionFields(
    question="question",
    answer="answer",
    image="imageId",
    ending=".jpg",
    uid=ID,
    left_out=("semantic", "semanticStr", "annotations", "entailed", "equivalent", "groups"),
)

SOURCE = SourceReader(
    "gqa",
    ignore_options(make_question_reader(FIELDS)),
    (".json",),
    items=read_named_objects(ID),
    offsets=find_member_offsets,
)
