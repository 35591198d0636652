"""Parses untrusted JSON: every fault is a `ValueError` with a one-line message."""

import json
from typing import Any

MAX_JSON = 1 << 26  # bytes of one document's JSON; the longest papers have under 2 MiB of text


def parse_object(text: str | bytes, name: str, most: int) -> dict[str, Any]:
    """Returns the JSON object in `text`.

    Raises a one-line `ValueError` that begins with `name` if `text` is not a JSON object or is longer than `most`.
    """
    value = parse_json(text, name, most)
    if not isinstance(value, dict):
        raise ValueError(f"{name} is no JSON object")
    return value


def parse_json(text: str | bytes, name: str, most: int) -> Any:
    """Returns the JSON value in `text`.

    Raises a one-line `ValueError` that begins with `name` if `text` is not JSON or is longer than `most` (bytes for
    bytes, characters for a string).
    """
    if len(text) > most:
        raise ValueError(f"{name} has a length of {len(text)}; at most {most} is read")
    if isinstance(text, str):
        text = text.removeprefix("\ufeff")  # a byte order mark; `json` skips it in bytes, but not in strings
    try:
        return json.loads(text, parse_constant=lambda _: None)  # NaN, which is not JSON
    except ValueError as error:
        raise ValueError(f"{name} is not JSON: {error}") from None
    except RecursionError:
        raise ValueError(f"{name} is nested too deep") from None
