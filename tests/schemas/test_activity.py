"""A command says what it is doing: soon after it begins, and after each silence."""

import os
import re
import threading
import time
from collections.abc import Callable

import pytest

from schemas import activity
from schemas.activity import Activity, report_activity
from schemas.log import LOG
from schemas.terminal import SILENCE, print_result


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("schemas.activity.FIRST_LINE_SECONDS", 0.02)
    monkeypatch.setattr("schemas.activity.LINE_SECONDS", 0.1)
    SILENCE.begin()


def wait_for(said: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not said():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_lines_while_something_lasts(capfd: pytest.CaptureFixture[str]) -> None:
    lines: list[str] = []

    def has_said(count: int) -> bool:
        lines.extend(capfd.readouterr().err.splitlines())
        return len(lines) >= count

    with report_activity("copy: reading"):
        wait_for(lambda: has_said(1))
        with report_activity("copy: starting Ray", at_once=True):
            wait_for(lambda: has_said(3))
        wait_for(lambda: has_said(4))
    assert lines[:2] == ["copy: reading", "copy: starting Ray"]
    assert re.fullmatch(r"copy: starting Ray \(\d+ s so far\)", lines[2])
    assert re.fullmatch(r"copy: reading \(\d+ s so far\)", lines[3])
    wait_for(lambda: all(thread.name != "activity" for thread in threading.enumerate()))
    assert capfd.readouterr().err == ""


def test_what_is_quick_is_silent(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("schemas.activity.FIRST_LINE_SECONDS", 600.0)
    for _ in range(3):
        with report_activity("copy: reading"):
            pass
    assert capsys.readouterr().err == ""


def test_a_line_of_any_kind_ends_the_silence() -> None:
    one = Activity(lambda _: "", began=1000.0)
    assert one.find_next_line(SILENCE.last_line) == pytest.approx(1000.02)
    LOG.debug("of nobody's interest")
    assert SILENCE.last_line is None
    LOG.info("a message")
    assert SILENCE.last_line is not None
    assert one.find_next_line(SILENCE.last_line) == pytest.approx(SILENCE.last_line + 0.1)
    SILENCE.begin()
    print_result("a result")
    assert SILENCE.last_line is not None


def test_a_forked_process_has_a_thread_of_its_own() -> None:
    with report_activity("copy: reading"):
        child = os.fork()
        if child == 0:
            with report_activity("copy: in the child"):
                os._exit(
                    0 if [one.describe(0) for one in activity._reporter._activities] == ["copy: in the child"] else 1
                )
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
