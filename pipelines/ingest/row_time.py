"""Bounds the CPU seconds that work on one row may take: a row of a few megabytes can ask for hours.

From the end of these seconds on, a signal a second lets the main thread look how long it has worked; what is slow in
Python or in a regular expression is ended so. Native code does not notice that. Where deaths of workers are looked into
(`pipelines.ingest.row_watch`), a second timer ends the process; elsewhere such code runs on.

Of CPU seconds, because a machine that is busy or suspended must not alter what is left out. Setting the timers costs a
few microseconds. The timer of `signal.ITIMER_PROF` is left to others.
"""

import signal
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from schemas.records.quarantine import Reason, Rejected

T = TypeVar("T")

PROCESS_SHARE = 2  # times the seconds, after which the process ends: what can be raised comes first


class _RowTooSlow(BaseException):
    """Says that the time is up. No `Exception`: libraries catch those on data that they don't expect."""


def within(seconds: float, work: Callable[[], T], *, ends_process: bool = False) -> T:
    """Returns what the work does; raises `Rejected(too_slow)` where it takes longer.

    In a thread that is not the main one, and where something else has taken the signal, nothing is raised.
    """
    timers = _Timers(seconds, ends_process)
    try:
        try:
            timers.start()
            return work()
        finally:
            timers.stop()
    except _RowTooSlow:
        timers.stop()  # it may have been raised before the first line of the first `stop`
        raise Rejected(Reason.TOO_SLOW, f"more than {seconds:g} s of CPU time") from None


class _Timers:
    """The timers of one piece of work."""

    def __init__(self, seconds: float, ends_process: bool) -> None:
        self._seconds, self._ends_process = seconds, ends_process
        self._begin = time.process_time()
        self._is_set = False

    def start(self) -> None:
        if self._ends_process:
            signal.setitimer(signal.ITIMER_VIRTUAL, PROCESS_SHARE * self._seconds)  # nobody handles its signal
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGALRM) == signal.SIG_DFL:
            signal.signal(signal.SIGALRM, self._look)
            self._is_set = True
            signal.setitimer(signal.ITIMER_REAL, self._seconds, 1.0)

    def stop(self) -> None:
        if self._is_set:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            self._is_set = False
        if self._ends_process:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)

    def _look(self, *_: object) -> None:
        if self._is_set and time.process_time() - self._begin >= self._seconds:
            raise _RowTooSlow
