"""Reads what a row says *about* its document or image: no row is lost for it, whatever it is.

What is not laid out as its set has it stays as it stands, in the metadata.
"""

from typing import Any

from curation.sources.formats.fields import json_value, optional_text
from schemas.records.quarantine import Rejected


def remark(value: Any, name: str) -> Any:
    """Returns what a string of JSON holds; one that is no JSON as it stands."""
    try:
        return json_value(value, name)
    except Rejected:
        return value


def text_remark(value: Any, name: str) -> tuple[str | None, dict[str, Any]]:
    """Returns a text, such as a page's address, and what to keep in the metadata where it is none."""
    try:
        return optional_text(value, name), {}
    except Rejected:
        return None, {name: value}
