"""Reads lists that tables hold as text, in JSON or in Python's notation."""

import ast
import io
import tokenize
from typing import Any

from schemas.json_text import parse_json

MAX_LIST = 1 << 16  # characters of a list of choices or answers


def parse_list(text: str, max_length: int = MAX_LIST) -> list[Any] | None:
    """Returns the list that a text is; None if it is none."""
    if not text.lstrip().startswith("["):
        return None
    try:
        value = parse_json(text, "it", max_length)
    except ValueError:
        value = _parse_literal(text.strip(), max_length)
    return value if isinstance(value, list) else None


def parse_texts(text: str, max_length: int = MAX_LIST) -> list[str] | None:
    """Returns the list of texts that a text is; None if it is none, or empty.

    A list of numbers is none: it may be an answer by itself, as in MathVista.
    """
    values = parse_list(text, max_length)
    return values if values and all(isinstance(value, str) for value in values) else None


def _parse_literal(text: str, max_length: int) -> Any:
    """Returns the value of a literal; None if it is none.

    The text of an array, `['a' 'b']`, is none: Python joins texts without a comma between them.
    """
    if len(text) > max_length:
        return None
    try:
        value = ast.literal_eval(text)
        tokens = sum(token.type == tokenize.STRING for token in tokenize.generate_tokens(io.StringIO(text).readline))
    except (ValueError, SyntaxError, tokenize.TokenError, MemoryError, RecursionError):
        return None
    return value if tokens == _count_texts(value) else None


def _count_texts(value: Any) -> int:
    if isinstance(value, list | tuple):
        return sum(map(_count_texts, value))
    return isinstance(value, str | bytes)
