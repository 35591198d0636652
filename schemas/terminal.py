"""Text for a terminal: what came from images, files or the web is made harmless first."""

import unicodedata

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


def duration(seconds: float) -> str:
    """Returns whole hours, minutes and seconds, as `1:05:09`."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
