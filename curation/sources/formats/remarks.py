"""Parses descriptive fields of a row, such as metadata; an invalid value never rejects the row.

A value without the layout of its set is kept unchanged in the metadata.
"""

from typing import Any

from curation.sources.formats.fields import json_value, optional_text
from schemas.records.quarantine import Rejected


def remark(value: Any, name: str) -> Any:
    """Parses a string of JSON. Returns an invalid one unchanged."""
    try:
        return json_value(value, name)
    except Rejected:
        return value


def text_remark(value: Any, name: str) -> tuple[str | None, dict[str, Any]]:
    """Returns a text, such as a page's address, and {}; for a value that is no text, None and {name: value}."""
    try:
        return optional_text(value, name), {}
    except Rejected:
        return None, {name: value}
