"""Prints text on a terminal. Text from images, files or the web is made harmless first."""

import json
import time
import unicodedata
from typing import Any

from schemas.masking import mask_secrets, mask_values

_UNSAFE = frozenset(("Cc", "Cs", "Zl", "Zp"))  # controls (ANSI escapes begin with one), lone surrogates, line ends
_BIDI_CONTROLS = frozenset(("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"))  # they reorder what follows


class Silence:
    """Remembers when this process last printed a line, so that lines on what is being done come after silence only."""

    def __init__(self) -> None:
        self.last_line: float | None = None  # as `time.monotonic` has it; None before a command's first line

    def begin(self) -> None:
        """Records that a command begins, which has printed nothing."""
        self.last_line = None

    def end(self) -> None:
        """Records that a line was printed."""
        self.last_line = time.monotonic()


SILENCE = Silence()


def escape_controls(text: str) -> str:
    r"""Escapes each character that could control a terminal, for example ESC as `\x1b`; keeps text in any script."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode()
        if unicodedata.category(char) in _UNSAFE or unicodedata.bidirectional(char) in _BIDI_CONTROLS
        else char
        for char in text
    )


def print_result(line: str) -> None:
    """Prints a line of a command's result to stdout, whatever the text; secrets of URLs in it are masked.

    The linter refuses `print`: all text goes through this function, a table's `make_cell`, or the log (`schemas.log`).
    """
    print(mask_secrets(escape_controls(line)), flush=True)  # noqa: T201
    SILENCE.end()


def print_json(value: Any) -> None:
    """Prints a command's result as JSON for a script; secrets of URLs in it are masked.

    Non-ASCII characters are escaped, terminal escapes included.
    """
    print(json.dumps(mask_values(value)), flush=True)  # noqa: T201


def format_duration(seconds: float) -> str:
    """Returns a number of seconds as hours, minutes and whole seconds: `1:05:09`."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
