"""Reads A-OKVQA's `aokvqa_v1p0_train.json`, a list of questions about pictures of COCO 2017.

`{"split", "image_id", "question_id", "question", "choices": [4 texts], "correct_choice_idx", "direct_answers": [10
texts], "difficult_direct_answer", "rationales": [3 texts]}`. The image is `{image_id}` with twelve digits, such as
`000000299207.jpg`, in `train2017` or `val2017`. The question is asked with its options, as in LLaVA-1.5's mixture;
direct answers and rationales are in the metadata.
"""

from typing import Any

from curation.sources.formats.fields import malformed_row_error, select_other_fields
from curation.sources.formats.json_list import find_entry_offsets, read_entries
from curation.sources.formats.question_answer import (
    Exchange,
    build_conversation,
    read_choice,
    read_image_name,
    read_object,
    read_question,
)
from curation.sources.reader import SourceReader, ignore_options
from schemas.records.document import ParsedDocument
from schemas.records.uid import to_uid


def read(item: Any) -> ParsedDocument:
    """Returns the conversation of one question. Raises `Rejected`."""
    row = read_object(item)
    number = to_uid(row.get("image_id"))
    if number and not (number.isascii() and number.isdigit()):
        raise malformed_row_error("image_id is not a whole number")
    image = read_image_name(number and number.zfill(12), "image_id", ".jpg")
    names = ("choices", "correct_choice_idx")
    chosen = read_choice(read_question(row.get("question")), row.get(names[0]), row.get(names[1]), names)
    others = select_other_fields(row, ("question", "question_id", "image_id"))
    return build_conversation(row.get("question_id"), [Exchange(chosen.question, chosen.answer, image)], others)


SOURCE = SourceReader("a-okvqa", ignore_options(read), (".json",), items=read_entries, offsets=find_entry_offsets)
