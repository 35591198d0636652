"""Limits the CPU seconds that work on one image or one row may take, whatever makes it slow.

CPU seconds, because a machine that is busy or suspended must not change what is left out. A timer of the process raises
from its signal, which ends what is slow in Python. Native code doesn't notice a signal, so a second timer ends the
process, but only in workers whose deaths are traced to a sample: see `end_process_after`. Setting both costs a few
microseconds.
"""

import signal
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

RAISING_SHARE = 0.8  # of the seconds after which the process ends: what can be raised comes first

_REPEAT_SECONDS = 0.1  # between two signals: the first may be lost where Python ignores exceptions, as in `__del__`

_process_seconds: float | None = None
_limits: list["_Limit"] = []  # of the main thread, the innermost last


class CpuLimitExceeded(Exception):
    """Work took more CPU seconds than it may."""


class _OutOfTime(BaseException):
    """Ends the work. No `Exception`: libraries catch those on data that they don't expect."""

    def __init__(self, limit: "_Limit") -> None:
        self.limit = limit


class _Limit:
    """The end of one piece of work, in CPU seconds of this process."""

    def __init__(self, seconds: float) -> None:
        self.end = time.process_time() + seconds


def end_process_after(seconds: float | None) -> None:
    """Lets work under a limit end this process after so many CPU seconds. For workers whose deaths are looked into."""
    global _process_seconds  # one of a process, as its timers are
    _process_seconds = seconds


def run_within(seconds: float, work: Callable[[], T]) -> T:
    """Returns what the work does. Raises `CpuLimitExceeded` where it takes more CPU seconds of this process.

    Limits may be nested. Nothing is raised in a thread other than the main one, nor where the signal is taken, as it is
    in a process that is profiled.
    """
    if _process_seconds is None:
        return _raise_after(seconds, work)
    before = signal.setitimer(signal.ITIMER_VIRTUAL, _process_seconds)  # nobody handles its signal, which then kills
    try:
        return _raise_after(min(seconds, round(RAISING_SHARE * _process_seconds, 3)), work)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, *before)


def _raise_after(seconds: float, work: Callable[[], T]) -> T:
    if threading.current_thread() is not threading.main_thread():
        return work()
    limit = _Limit(seconds)
    try:
        try:
            _enter(limit)
            return work()
        finally:
            _leave(limit)
    except _OutOfTime as error:
        _leave(limit)  # it may have been raised before the first line of the first `_leave`
        if error.limit is not limit:
            raise
        raise CpuLimitExceeded(f"more than {seconds:g} s of CPU time") from None


def _enter(limit: _Limit) -> None:
    if not _limits:
        if signal.getsignal(signal.SIGPROF) != signal.SIG_DFL:
            return
        signal.signal(signal.SIGPROF, _raise_if_due)
    _limits.append(limit)
    _set_timer()


def _leave(limit: _Limit) -> None:
    if limit in _limits:
        _limits.remove(limit)
        _set_timer()


def _set_timer() -> None:
    if not _limits:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        return
    seconds = min(limit.end for limit in _limits) - time.process_time()
    signal.setitimer(signal.ITIMER_PROF, max(seconds, 1e-6), _REPEAT_SECONDS)


def _raise_if_due(*_: Any) -> None:
    now = time.process_time()
    for limit in _limits:
        if now >= limit.end:
            raise _OutOfTime(limit)
