"""Reads Orca-Math, the Parquet of Hugging Face's microsoft/orca-math-word-problems-200k: `question` and `answer`.

They are text alone, without an id. The answer is a solution in words.
"""

from typing import Any

from curation.sources.formats.fields import select_other_fields
from curation.sources.formats.question_answer import (
    Exchange,
    build_conversation,
    read_answer,
    read_object,
    read_question,
)
from curation.sources.reader import SourceReader, ignore_options
from schemas.records.document import ParsedDocument

_COLUMNS = ("question", "answer")


def read(item: Any) -> ParsedDocument:
    """Returns the conversation of one row, or of one line of JSONL. Raises `Rejected`."""
    row = read_object(item)
    exchange = Exchange(read_question(row.get("question")), read_answer(row.get("answer")))
    return build_conversation(None, [exchange], select_other_fields(row, _COLUMNS))


SOURCE = SourceReader("orca-math", ignore_options(read), (".parquet", ".jsonl"), columns=_COLUMNS)
