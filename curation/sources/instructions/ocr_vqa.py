"""Reads OCR-VQA's `dataset.json`: an object with a member for each book cover, named by its id.

`{"imageURL", "questions": [...], "answers": [...], "title", "authorName", "genre", "split"}`: the lists are parallel,
and `split` is 1 for training, 2 for validation and 3 for test. Rows of the other splits are rejected. The image is
`{id}` with the ending of its URL, as the publisher's `loadDataset.py` stores it. A cover becomes one conversation, and
as in LLaVA-1.5's mixture only its first question says how to answer.
"""

from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from curation.sources.formats.fields import (
    malformed_row_error,
    read_optional_list,
    read_optional_text,
    select_other_fields,
)
from curation.sources.formats.json_object import find_member_offsets, read_named_objects
from curation.sources.formats.question_answer import (
    SHORT_ANSWER,
    Exchange,
    build_conversation,
    check_split,
    read_answer,
    read_image_name,
    read_object,
    read_question,
)
from curation.sources.reader import SourceReader, ignore_options
from schemas.records.document import ParsedDocument

TRAINING = 1  # of `split`


def read(item: Any) -> ParsedDocument:
    """Returns the conversation about one cover. Raises `Rejected`."""
    row = read_object(item)
    check_split(row, "split", TRAINING)
    ending = PurePosixPath(urlsplit(read_optional_text(row.get("imageURL"), "imageURL") or "").path).suffix
    image = read_image_name(row.get("id"), "id", ending or ".jpg")
    questions, answers = (read_optional_list(row.get(name), name) for name in ("questions", "answers"))
    if len(questions) != len(answers) or not questions:
        raise malformed_row_error(f"{len(questions)} questions and {len(answers)} answers")
    exchanges = [
        Exchange(read_question(asked, f"questions[{number}]"), read_answer(answer, f"answers[{number}]"))
        for number, (asked, answer) in enumerate(zip(questions, answers, strict=True))
    ]
    exchanges[0] = Exchange(f"{exchanges[0].question}\n{SHORT_ANSWER}", exchanges[0].answer, image)
    return build_conversation(row["id"], exchanges, select_other_fields(row, ("id", "questions", "answers", "split")))


SOURCE = SourceReader(
    "ocr-vqa", ignore_options(read), (".json",), items=read_named_objects("id"), offsets=find_member_offsets
)
