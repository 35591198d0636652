"""Tests of what a terminal is shown of texts from the web."""

import pytest

from schemas.terminal import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("STOP 24 h", "STOP 24 h"),
        ("出口 مخرج é", "出口 مخرج é"),
        ("\x1b[2J", r"\x1b[2J"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\u202eevil", r"\u202eevil"),
        ("\ud83d", r"\ud83d"),
        ("a\u2028b", r"a\u2028b"),
    ],
)
def test_nothing_steers_the_terminal_and_every_script_stays(text: str, shown: str) -> None:
    assert visible(text) == shown
