"""Text for a terminal: what came from images, files or the web is made harmless first."""

import json
import sys
import unicodedata
from typing import Any

from schemas.masking import masked

_UNSAFE = frozenset(("Cc", "Cs", "Zl", "Zp"))  # controls (ANSI escapes begin with one), half pairs, line ends
_TURNING = frozenset(("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"))  # they reorder what follows


def visible(text: str) -> str:
    r"""Returns the text with all that would steer a terminal written out, as `\x1b`; every script stays as it is."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode()
        if unicodedata.category(char) in _UNSAFE or unicodedata.bidirectional(char) in _TURNING
        else char
        for char in text
    )


def say(line: str, *, is_result: bool = False) -> None:
    """Prints a line that may hold text from anywhere: what a command does to stderr, its result to stdout.

    No secret of a URL in it is shown.

    All printing of text goes through here, or through a table's `cell`; `print` is refused by the linter.
    """
    print(masked(visible(line)), file=sys.stdout if is_result else sys.stderr, flush=True)


def say_json(value: Any) -> None:
    """Prints a command's result for a script. In JSON all but ASCII is written out, escapes as well."""
    print(json.dumps(value), flush=True)  # noqa: T201


def duration(seconds: float) -> str:
    """Returns whole hours, minutes and seconds, as `1:05:09`."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
