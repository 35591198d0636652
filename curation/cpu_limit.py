"""Limits the CPU seconds that work on one image or one row may take.

The limit counts CPU seconds, because a busy or suspended machine must not change which samples are left out. A timer of
the process raises an exception from its signal handler, which stops slow Python code. Native code does not notice a
signal, so a second timer ends the process, but only in workers whose deaths are traced to a sample: see
`end_process_after`. Setting both timers costs a few microseconds.
"""

import signal
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

SOFT_LIMIT_SHARE = 0.8  # of the seconds after which the process ends, so that the exception comes first

_REPEAT_SECONDS = 0.1  # between two signals: the first is lost where Python ignores exceptions, such as `__del__`

_process_seconds: float | None = None
_limits: list["_Limit"] = []  # of the main thread, the innermost last


class CpuLimitExceeded(Exception):
    """Says that work took more CPU seconds than its limit."""


class _OutOfTime(BaseException):
    """Ends the work. It is not an `Exception`, because libraries catch those on unexpected data."""

    def __init__(self, limit: "_Limit") -> None:
        self.limit = limit


class _Limit:
    """Holds the end of one piece of work, in CPU seconds of this process."""

    def __init__(self, seconds: float) -> None:
        self.end = time.process_time() + seconds


def end_process_after(seconds: float | None) -> None:
    """Makes work under a limit end this process after this many CPU seconds; None switches that off.

    Only for workers whose deaths are traced to a sample.
    """
    global _process_seconds  # the process has one, as it has one timer
    _process_seconds = seconds


def run_within(seconds: float, work: Callable[[], T]) -> T:
    """Runs `work` and returns its result. Raises `CpuLimitExceeded` if it takes more CPU seconds of this process.

    Limits may be nested. Nothing is raised in threads other than the main one, or where something else already handles
    the signal, for example in a process under a profiler.
    """
    if _process_seconds is None:
        return _raise_after(seconds, work)
    before = signal.setitimer(signal.ITIMER_VIRTUAL, _process_seconds)  # its signal has no handler and so kills
    try:
        return _raise_after(min(seconds, round(SOFT_LIMIT_SHARE * _process_seconds, 3)), work)
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
        _leave(limit)  # it may have been raised before the first line of the `_leave` above
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
