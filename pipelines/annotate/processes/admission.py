"""Admits chunks to a worker: several at once where its engine takes concurrent calls, or one alone.

A chunk on which a worker has died is worked on alone, so that no other chunk is blamed for the next death.
"""

import contextlib
import threading
import time
from collections.abc import Iterator


class ChunkAdmission:
    """Counts the chunks that a process works on, and for how long it works on any."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._at_work = 0
        self._alone = 0  # those that are or want to be at work alone
        self._busy_since = self._busy_seconds = 0.0

    @contextlib.contextmanager
    def admit(self, is_alone: bool) -> Iterator[None]:
        """Waits until the work inside the `with` block may start: alone, or beside others that need not be alone."""
        with self._changed:
            self._alone += is_alone
            self._changed.wait_for(lambda: not (self._at_work if is_alone else self._alone))
            if not self._at_work:
                self._busy_since = time.monotonic()
            self._at_work += 1
        try:
            yield
        finally:
            with self._changed:
                self._count_time()
                self._at_work -= 1
                self._alone -= is_alone
                self._changed.notify_all()

    def take_busy_seconds(self) -> float:
        """Returns the seconds since the last call in which there was work. Chunks at work at once count once."""
        with self._changed:
            self._count_time()
            seconds, self._busy_seconds = self._busy_seconds, 0.0
            return seconds

    def _count_time(self) -> None:
        if self._at_work:
            now = time.monotonic()
            self._busy_seconds += now - self._busy_since
            self._busy_since = now
