"""Reads plain text from JSONL objects or Parquet rows with a field `text`: each is a document without images."""

from collections.abc import Mapping
from typing import Any

from curation.sources.formats.fields import as_json, json_object, lenient_text, malformed, others, trained_text
from curation.sources.reader import SourceReader, without_options
from schemas.records.document import Draft
from schemas.records.uid import uid_text

COLUMNS = ("text",)
OPTIONAL = ("id", "uid", "url")

_KNOWN = ("text", "id", "uid", "url")


def read(row: Mapping[str, Any] | str | bytes) -> Draft:
    """Returns the document of one row, or of one line of JSONL. Raises `Rejected`."""
    if isinstance(row, str | bytes):
        row = json_object(row, "the line")
    text = trained_text(row.get("text"), "text")
    if text is None:
        raise malformed("there is no text")
    uid = uid_text(row.get("uid"))
    return Draft(
        uid_text(row.get("id")) if uid is None else uid,
        lenient_text(row.get("url"), "url"),
        (text,),
        metadata=as_json(others(row, _KNOWN)),
    )


SOURCE = SourceReader("text", without_options(read), (".jsonl", ".parquet"), columns=COLUMNS, optional=OPTIONAL)
