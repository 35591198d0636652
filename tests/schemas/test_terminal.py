"""Tests of what a terminal is shown."""

import pytest

from schemas.terminal import escape_controls, format_duration, print_json, print_result


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
    assert escape_controls(text) == shown


def test_durations_have_no_end() -> None:
    shown = ["0:00:00", "0:01:05", "1:05:09", "100:00:00"]
    assert [format_duration(seconds) for seconds in (0.9, 65, 3909.5, 360_000)] == shown


def test_what_is_printed_shows_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"faults": ["http://user:hunter2@host/sets/x/data/0.tar: is missing"], "pair": ("s3://a:b@c/d", 1)})
    shown = '{"faults": ["http://***@host/sets/x/data/0.tar: is missing"], "pair": ["s3://***@c/d", 1]}\n'
    assert capsys.readouterr().out == shown


def test_what_is_printed_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_result("\x1b[2J")
    print_json({"\x1b[2J": "\u202e"})
    assert capsys.readouterr().out == '\\x1b[2J\n{"\\u001b[2J": "\\u202e"}\n'
