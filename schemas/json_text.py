"""Parses untrusted JSON: every fault is a `ValueError` with a one-line message."""

import json
from typing import Any

MAX_JSON = 1 << 26  # bytes of one document's JSON; the longest papers have under 2 MiB of text


def parse_object(text: str | bytes, name: str, max_length: int) -> dict[str, Any]:
    """Returns the JSON object in `text`.

    Raises a one-line `ValueError` that begins with `name` if `text` is not a JSON object or is longer than
    `max_length`.
    """
    value = parse_json(text, name, max_length)
    if not isinstance(value, dict):
        raise ValueError(f"{name} is not a JSON object")
    return value


def parse_json(text: str | bytes, name: str, max_length: int) -> Any:
    """Returns the JSON value in `text`.

    Raises a one-line `ValueError` that begins with `name` if `text` is not JSON or is longer than `max_length` (bytes
    for bytes, characters for a string).
    """
    if len(text) > max_length:
        raise ValueError(f"{name} has a length of {len(text)}; at most {max_length} is read")
    if isinstance(text, str):
        text = text.removeprefix("\ufeff")  # a byte order mark; `json` skips it in bytes, but not in strings
    try:
        return json.loads(text, parse_constant=lambda _: None)  # NaN, which is not JSON
    except ValueError as error:
        raise ValueError(f"{name} is not JSON: {error}") from None
    except RecursionError:
        raise ValueError(f"{name} is nested too deep") from None
