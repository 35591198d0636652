"""Reads OpenOrca, `1M-GPT4-Augmented.parquet` and `3_5M-GPT3_5-Augmented.parquet` of Hugging Face's Open-Orca/OpenOrca.

`{"id", "system_prompt", "question", "response"}`: text alone. An empty system prompt is none.
"""

from typing import Any

from curation.sources.formats.fields import read_training_text, select_other_fields
from curation.sources.formats.question_answer import (
    Exchange,
    build_conversation,
    read_answer,
    read_object,
    read_question,
)
from curation.sources.reader import SourceReader, ignore_options
from schemas.records.document import ParsedDocument

_COLUMNS = ("system_prompt", "question", "response")


def read(item: Any) -> ParsedDocument:
    """Returns the conversation of one row, or of one line of JSONL. Raises `Rejected`."""
    row = read_object(item)
    exchange = Exchange(read_question(row.get("question")), read_answer(row.get("response"), "response"))
    system = (read_training_text(row.get("system_prompt"), "system_prompt") or "").strip()
    return build_conversation(row.get("id"), [exchange], select_other_fields(row, ("id", *_COLUMNS)), system)


SOURCE = SourceReader("open-orca", ignore_options(read), (".parquet", ".jsonl"), columns=_COLUMNS, optional=("id",))
