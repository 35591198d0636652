"""Bounds the CPU seconds that work on one image may take, whatever makes it slow.

By two of the process's interval timers. The first raises, which ends what is slow in Python. Native code doesn't notice
that, so the second ends the process, but only where whoever started it finds out at which image it was: see
`end_process_after`. Setting both costs a few microseconds.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import NoReturn

RAISING_SHARE = 0.8  # of the seconds after which the process ends: what can be raised comes first

_process_seconds: float | None = None


class OutOfTime(BaseException):
    """Says that the time is up. No `Exception`: libraries catch those on bytes that they don't expect."""


def end_process_after(seconds: float | None) -> None:
    """Lets work on one image end this process after so many CPU seconds. For workers whose deaths are looked into."""
    global _process_seconds  # one of a process, as its timers are
    _process_seconds = seconds


@contextlib.contextmanager
def cpu_bound(seconds: float) -> Iterator[None]:
    """Raises `OutOfTime` where the block takes more than so many CPU seconds of this process.

    It can be raised in the main thread alone, and takes no notice where the process is profiled by the same signal.
    """
    ends_process = _process_seconds is not None
    if _process_seconds is not None:
        seconds = min(seconds, round(RAISING_SHARE * _process_seconds, 3))
        signal.setitimer(signal.ITIMER_VIRTUAL, _process_seconds)  # nobody handles its signal, which then ends it
    is_main = threading.current_thread() is threading.main_thread()
    raises = is_main and signal.getsignal(signal.SIGPROF) == signal.SIG_DFL
    if raises:
        signal.signal(signal.SIGPROF, lambda *_: _raise(seconds))
        signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        if raises:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, signal.SIG_DFL)
        if ends_process:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def _raise(seconds: float) -> NoReturn:
    raise OutOfTime(f"more than {seconds:g} s of CPU time")
