"""Parses descriptive fields of a row, such as metadata; an invalid value never rejects the row.

A value without the layout of its set is kept unchanged in the metadata.
"""

from typing import Any

from curation.sources.formats.fields import parse_json_value, read_optional_text
from schemas.records.quarantine import Rejected


def parse_json_or_keep(value: Any, name: str) -> Any:
    """Parses a string of JSON. Returns an invalid one unchanged."""
    try:
        return parse_json_value(value, name)
    except Rejected:
        return value


def read_text_or_keep(value: Any, name: str) -> tuple[str | None, dict[str, Any]]:
    """Returns a text, such as a page's address, and {}; for a value that is not text, None and {name: value}."""
    try:
        return read_optional_text(value, name), {}
    except Rejected:
        return None, {name: value}
