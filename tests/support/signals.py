"""Undoes what a background shell sets for the processes that it starts, and they for theirs: they ignore SIGINT."""

import contextlib
import signal
from collections.abc import Iterator


def heed_interrupts() -> None:
    """Lets SIGINT end this process, as in a terminal. The `preexec_fn` of every child that a test sends a signal."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextlib.contextmanager
def heeding_interrupts() -> Iterator[None]:
    """Lets SIGINT interrupt this process and those that it forks, until the `with` block ends."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
