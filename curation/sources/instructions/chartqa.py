"""Reads ChartQA's `train_human.json` and `train_augmented.json`, lists of `{"imgname", "query", "label"}`.

The image is `{imgname}` in the folder `png` of the split. Questions have no id. `label` is a text, also where it is a
number; several values are written as a list in it, which is kept as it is.
"""

from curation.sources.formats.image_questions import QuestionFields, make_question_reader
from curation.sources.formats.json_list import find_entry_offsets, read_entries
from curation.sources.reader import SourceReader, ignore_options

FIELDS = QuestionFields(question="query", answer="label", image="imgname")

SOURCE = SourceReader(
    "chartqa",
    ignore_options(make_question_reader(FIELDS)),
    (".json",),
    items=read_entries,
    offsets=find_entry_offsets,
)
