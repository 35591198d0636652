"""Parses format strings: text with the names of fields in braces, `{name}`, and nothing else.

Python's own format strings look up attributes and take widths, `{text.__class__}` and `{x1:>1000000000}`, so those of a
file from elsewhere are never given to `str.format`.
"""

import re
from collections.abc import Collection
from typing import NamedTuple

MAX_CHARACTERS = 1000  # of one format string; the longest of BLIP-3 has 104
MAX_FIELDS = 32
MAX_SHOWN = 40  # characters of a wrong field in a message

_TOKEN = re.compile(r"(?P<literal>[^{}]+)|(?P<escaped>\{\{|\}\})|\{(?P<field>[^{}]*)\}|(?P<brace>[{}])")


class Piece(NamedTuple):
    """Holds a literal text and the name of the field after it; empty after the last literal."""

    literal: str
    field: str


Format = tuple[Piece, ...]
"""A parsed format string. The last piece has no field, and its literal may be empty."""


def parse_format(text: str, fields: Collection[str], max_characters: int = MAX_CHARACTERS) -> Format:
    """Parses a format string of these fields; `{{` and `}}` stand for braces. Raises `ValueError` with the fault."""
    if len(text) > max_characters:
        raise ValueError(f"it has {len(text):,} characters; at most {max_characters:,} are taken")
    if re.search("[\ud800-\udfff]", text):
        raise ValueError("it has half of a surrogate pair, which no file of captions can hold")
    pieces: list[Piece] = []
    literal = ""
    for token in _TOKEN.finditer(text):
        if token["brace"]:
            raise ValueError(
                f"the brace at character {token.start() + 1} has no partner: write {token['brace'] * 2} for a brace"
            )
        if token["field"] is None:
            literal += token["literal"] or token["escaped"][0]
            continue
        _check_field(token["field"], fields)
        pieces.append(Piece(literal, token["field"]))
        literal = ""
    if len(pieces) > MAX_FIELDS:
        raise ValueError(f"it has {len(pieces)} fields; at most {MAX_FIELDS} are taken")
    return (*pieces, Piece(literal, ""))


def _check_field(name: str, fields: Collection[str]) -> None:
    if name in fields:
        return
    on_one_line = repr(name)[1:-1]
    shown = "{" + (on_one_line if len(name) <= MAX_SHOWN else on_one_line[:MAX_SHOWN] + "...") + "}"
    if not fields:
        raise ValueError(f"it takes no fields, but has {shown}: write {{{{ and }}}} for braces")
    if not re.fullmatch(r"\w+", name):
        raise ValueError(f"{shown}: only the name of a field can stand in braces; write {{{{ and }}}} for braces")
    raise ValueError(f"unknown field {shown}: use one of {', '.join(fields)}")
