"""Measures the rate of work over the last minutes, so that neither its start nor an old pace counts for ever."""

import time
from collections import deque

WINDOW_SECONDS = 180.0  # a chunk of slow boxes takes minutes; a rate over less would jump from chunk to chunk
POINT_SECONDS = 1.0  # at most one measurement a second is kept


class MovingRate:
    """Measures how fast a count grows. Its window begins `WINDOW_SECONDS` ago, or with the measurement before."""

    def __init__(self, count: float = 0.0) -> None:
        self.restart(count)

    def restart(self, count: float) -> None:
        """Begins a new window now."""
        self._points = deque([(time.monotonic(), count)])  # replaced at once: another thread may compute the rate

    def record(self, count: float) -> None:
        """Takes the present count. A count that has not changed is no new measurement."""
        now = time.monotonic()
        if count == self._points[-1][1]:
            return
        if len(self._points) > 1 and now - self._points[-2][0] < POINT_SECONDS:
            self._points.pop()
        self._points.append((now, count))
        while len(self._points) > 2 and self._points[1][0] < now - WINDOW_SECONDS:
            self._points.popleft()

    def skip(self, amount: float) -> None:
        """Adds what was done without work, such as in an earlier run, to the counts so far."""
        self._points = deque((when, count + amount) for when, count in self._points)

    def compute(self) -> float:
        """Returns the growth per second from the window's begin to now; 0 before the first."""
        when, count = self._points[0]
        return (self._points[-1][1] - count) / max(time.monotonic() - when, 1e-3)
