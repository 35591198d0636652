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
    end = time.monotonic() + 600  # of a hang: a busy machine takes its time
    while not said():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_lines_while_something_lasts(capfd: pytest.CaptureFixture[str]) -> None:
    """How many of each kind depends on how busy the machine is."""
    reading, starting, so_far = "copy: reading", "copy: starting Ray", r" \(\d+ s so far\)"
    lines = f"({reading}({so_far})?\n)+"
    said: list[str] = []

    def has_said(lines: str) -> bool:
        said.append(capfd.readouterr().err)
        return re.fullmatch(lines, "".join(said)) is not None

    with report_activity(reading):
        wait_for(lambda: has_said(lines))
        with report_activity(starting, at_once=True):
            lines += f"{starting}\n({reading}{so_far}\n)?({starting}{so_far}\n)+"  # one may have been under way
            wait_for(lambda: has_said(lines))
        lines += f"({reading}{so_far}\n)+"
        wait_for(lambda: has_said(lines))
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
