"""Reads plain text from JSONL objects or Parquet rows with a field `text`: each is a document without images."""

from collections.abc import Mapping
from typing import Any

from curation.sources.formats.fields import (
    dump_metadata,
    malformed_row_error,
    parse_json_object,
    read_text_leniently,
    read_training_text,
    select_other_fields,
)
from curation.sources.reader import SourceReader, ignore_options
from schemas.records.document import ParsedDocument
from schemas.records.uid import to_uid

COLUMNS = ("text",)
OPTIONAL = ("id", "uid", "url")

_KNOWN = ("text", "id", "uid", "url")


def read(row: Mapping[str, Any] | str | bytes) -> ParsedDocument:
    """Returns the document of one row, or of one line of JSONL. Raises `Rejected`."""
    if isinstance(row, str | bytes):
        row = parse_json_object(row, "the line")
    text = read_training_text(row.get("text"), "text")
    if text is None:
        raise malformed_row_error("there is no text")
    uid = to_uid(row.get("uid"))
    return ParsedDocument(
        to_uid(row.get("id")) if uid is None else uid,
        read_text_leniently(row.get("url"), "url"),
        (text,),
        metadata=dump_metadata(select_other_fields(row, _KNOWN)),
    )


SOURCE = SourceReader("text", ignore_options(read), (".jsonl", ".parquet"), columns=COLUMNS, optional=OPTIONAL)
