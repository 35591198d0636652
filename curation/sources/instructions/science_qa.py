"""Reads ScienceQA: the publisher's `problems.json`, or the Parquet of Hugging Face's derek-thomas/ScienceQA.

`{"question", "choices": [...], "answer": 0, "hint", "image": "image.png" or null, "task", "grade", "subject",
"topic", "category", "skill", "lecture", "solution", "split"}`. `problems.json` is an object with a member for each
question, named by its id; its image is `{split}/{id}/image.png` in `images`, and rows of other splits than `train` are
rejected. In Parquet, `image` has the file itself, and there is a file for each split. `answer` counts from 0.

About half of the questions have no image: they become conversations of text alone. `hint` comes below the question.
Lecture and solution are in the metadata.
"""

from typing import Any

from curation.sources.formats.fields import read_training_text, select_other_fields
from curation.sources.formats.json_object import find_member_offsets, read_named_objects
from curation.sources.formats.question_answer import (
    Exchange,
    build_conversation,
    check_split,
    read_choice,
    read_image_name,
    read_object,
    read_question,
    read_stored_image,
)
from curation.sources.formats.row_images import is_present
from curation.sources.reader import SourceReader, ignore_options
from schemas.records.document import ParsedDocument, ParsedImage

TRAINING = "train"  # of `split`

_COLUMNS = ("question", "choices", "answer")


def read(item: Any) -> ParsedDocument:
    """Returns the conversation of one question. Raises `Rejected`."""
    row = read_object(item)
    if "split" in row:
        check_split(row, "split", TRAINING)
    asked = add_hint(read_question(row.get("question")), row.get("hint"))
    chosen = read_choice(asked, row.get("choices"), row.get("answer"), ("choices", "answer"))
    others = select_other_fields(row, ("id", "question", "hint", "image", "split"))
    return build_conversation(row.get("id"), [Exchange(chosen.question, chosen.answer, _read_image(row))], others)


def add_hint(question: str, hint: Any) -> str:
    """Returns a question with its hint below it, if it has one. Raises `Rejected` for a hint that is not text."""
    text = (read_training_text(hint, "hint") or "").strip()
    return f"{question}\nContext: {text}" if text else question


def _read_image(row: Any) -> ParsedImage | None:
    """Returns the image of a question, if it has one: of `problems.json` its path, of Parquet the file."""
    image = row.get("image")
    if not is_present(image):
        return None
    if isinstance(image, str):
        return read_image_name(f"{row.get('split')}/{row.get('id')}/{image}", "image")
    return read_stored_image(image, "image")


SOURCE = SourceReader(
    "science-qa",
    ignore_options(read),
    (".json", ".parquet"),
    columns=_COLUMNS,
    optional=None,
    items=read_named_objects("id"),
    offsets=find_member_offsets,
)
