"""Says what a program is doing while it prints nothing else: soon after it begins, and then every ten seconds."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from schemas.log import LOG
from schemas.terminal import SILENCE

FIRST_LINE_SECONDS = 0.3  # of the first activity of a command, so that its line comes within a second of the start
LINE_SECONDS = 10.0


@dataclass(eq=False)
class Activity:
    """Holds what is being done. `describe` makes its line, from the seconds since it began."""

    describe: Callable[[float], str]
    is_on_screen: bool = False  # a bar shows it already: its lines go to the log file alone
    began: float = field(default_factory=time.monotonic)

    def find_next_line(self, last_line: float | None) -> float:
        """Returns when its next line is due; `last_line` is when anything was last printed, None if nothing was."""
        return self.began + FIRST_LINE_SECONDS if last_line is None else last_line + LINE_SECONDS


class ActivityReporter:
    """Logs the innermost activity whenever nothing has been printed for a while. Its thread runs while there is one."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._activities: list[Activity] = []  # the innermost last
        self._has_thread = False

    def begin(self, activity: Activity) -> None:
        """Adds an activity inside those that are in progress."""
        with self._changed:
            self._activities.append(activity)
            if not self._has_thread:
                self._has_thread = True
                threading.Thread(target=self._report, daemon=True, name="activity").start()
            self._changed.notify()

    def end(self, activity: Activity) -> None:
        """Removes an activity."""
        with self._changed:
            if activity in self._activities:  # not in a process that was forked meanwhile
                self._activities.remove(activity)
            self._changed.notify()

    def _report(self) -> None:
        while (activity := self._wait_for_line()) is not None:
            line = activity.describe(time.monotonic() - activity.began)
            with contextlib.suppress(OSError, ValueError):  # a terminal that is gone, a stream that was just replaced
                LOG.info(line, extra={"is_on_screen": activity.is_on_screen})
            SILENCE.end()  # also where the log shows no such lines

    def _wait_for_line(self) -> Activity | None:
        """Waits until a line is due, and returns the activity that it is about; None when there is no activity."""
        with self._changed:
            while self._activities:
                activity = self._activities[-1]
                seconds = activity.find_next_line(SILENCE.last_line) - time.monotonic()
                if seconds <= 0:
                    return activity
                self._changed.wait(seconds)
            self._has_thread = False
            return None


_reporter = ActivityReporter()


def _forget_activities() -> None:
    """Forgets the parent's activities in a forked process, which has not inherited the thread."""
    global _reporter
    _reporter = ActivityReporter()


os.register_at_fork(after_in_child=_forget_activities)


@contextlib.contextmanager
def report_activity(
    what: str | Callable[[float], str], *, at_once: bool = False, is_on_screen: bool = False
) -> Iterator[None]:
    """Says what is being done until the `with` block ends, whenever nothing has been printed for a while.

    `what` is a line such as "annotate: listing the input", to which the time is added, or makes one from the seconds
    since the block began. With `at_once` its first line is logged now, for what always takes seconds.
    """
    activity = Activity(_add_seconds(what) if isinstance(what, str) else what, is_on_screen)
    if at_once:
        LOG.info(activity.describe(0.0), extra={"is_on_screen": is_on_screen})
    reporter = _reporter
    reporter.begin(activity)
    try:
        yield
    finally:
        reporter.end(activity)


def _add_seconds(what: str) -> Callable[[float], str]:
    return lambda seconds: what if seconds < LINE_SECONDS / 2 else f"{what} ({seconds:.0f} s so far)"
