"""Prints text on a terminal. Text from images, files or the web is made harmless first."""

import json
import sys
import unicodedata
from typing import Any

from schemas.masking import mask_secrets

_UNSAFE = frozenset(("Cc", "Cs", "Zl", "Zp"))  # controls (ANSI escapes begin with one), lone surrogates, line ends
_BIDI_CONTROLS = frozenset(("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"))  # they reorder what follows


def escape_controls(text: str) -> str:
    r"""Returns the text with each character that could control a terminal escaped, as `\x1b`; every script is kept."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode()
        if unicodedata.category(char) in _UNSAFE or unicodedata.bidirectional(char) in _BIDI_CONTROLS
        else char
        for char in text
    )


def say(line: str, *, is_result: bool = False) -> None:
    """Prints a line of any text: progress and messages to stderr, a command's result to stdout.

    Secrets of URLs in it are masked. All text is printed by this function or through a table's `cell`; the linter
    refuses `print`.
    """
    print(mask_secrets(escape_controls(line)), file=sys.stdout if is_result else sys.stderr, flush=True)


def say_json(value: Any) -> None:
    """Prints a command's result as JSON for a script. Non-ASCII characters are escaped, terminal escapes included."""
    print(json.dumps(value), flush=True)  # noqa: T201


def format_duration(seconds: float) -> str:
    """Returns a number of seconds as hours, minutes and whole seconds: `1:05:09`."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
