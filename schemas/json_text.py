"""Reads JSON that others wrote: every fault is one `ValueError` of one line."""

import json
from typing import Any

MAX_JSON = 1 << 26  # bytes of one document's JSON; the longest papers have under 2 MiB of text


def parse_object(text: str | bytes, name: str, most: int) -> dict[str, Any]:
    """The JSON object that `text` holds; ValueError, of one line, for anything else and for more than `most` of it."""
    value = parse_json(text, name, most)
    if not isinstance(value, dict):
        raise ValueError(f"{name} is no JSON object")
    return value


def parse_json(text: str | bytes, name: str, most: int) -> Any:
    """What `text` holds; ValueError, of one line, when it is not JSON and when there is more than `most` of it."""
    if len(text) > most:
        raise ValueError(f"{name} has a length of {len(text)}; at most {most} is read")
    if isinstance(text, str):
        text = text.removeprefix("\ufeff")  # a byte order mark, which `json` passes over in bytes alone
    try:
        return json.loads(text, parse_constant=lambda _: None)  # NaN, which only Python takes for JSON
    except ValueError as error:
        raise ValueError(f"{name} is not JSON: {error}") from None
    except RecursionError:
        raise ValueError(f"{name} is nested too deep") from None
