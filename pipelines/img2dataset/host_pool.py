"""Runs the threads that request a shard's URLs, with a fair share for each host; imported by the `runner.py` program.

img2dataset gives URLs to its threads in order and waits for all of them. A few slow hosts can then hold all threads,
and the shard's other images are never requested. This pool limits each host to a share of the threads, serves hosts
round robin, and waits for no response after the deadline.
"""

import queue
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self
from urllib.parse import urlsplit

DECODING_SECONDS = 30.0  # after the deadline, for images already received

Task = tuple[Any, str]
"""A key and a URL."""
Result = tuple[Any, Any, str | None]
"""A key, then the downloaded file or None, and the error or None."""


def parse_host(address: str) -> str:
    """Returns the host of a URL; an empty string if it names none."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


class HostPool:
    """Replaces the `ThreadPool` of img2dataset's downloader, with the methods that the downloader calls."""

    def __init__(self, threads: int, deadline: float) -> None:
        """`deadline` is in seconds since 1970."""
        self._count, self._deadline = threads, deadline
        self._host_share = max(1, threads // 2)  # one slow host leaves as many threads for all others
        self._waiting: dict[str, deque[Task]] = defaultdict(deque)
        self._turns: deque[str] = deque()  # hosts with a waiting URL and fewer active threads than their share
        self._at_work: dict[str, int] = defaultdict(int)
        self._changed = threading.Condition()
        self._is_closed = False
        self._results: queue.Queue[Result] = queue.Queue(2 * threads)  # bounds the memory of undecoded files

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.terminate()

    def imap_unordered(self, function: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """Yields the function's result for each task as it completes; for late tasks the error is `deadline`."""
        left: dict[Any, None] = {}
        for key, address in tasks:
            left[key] = None
            self._waiting[parse_host(address)].append((key, address))
        self._turns.extend(self._waiting)
        for _ in range(min(self._count, len(left))):
            threading.Thread(target=self._ask, args=(function,), daemon=True).start()
        while left and (result := self._wait_for_result()) is not None:
            left.pop(result[0])
            yield result
        self.terminate()
        yield from ((key, None, "deadline") for key in left)

    def _wait_for_result(self) -> Result | None:
        """Waits for a result until the deadline; after it, takes those already received for `DECODING_SECONDS`."""
        now = time.time()
        if now >= self._deadline:
            self.terminate()
        try:
            if now < self._deadline:
                return self._results.get(timeout=self._deadline - now)
            return self._results.get_nowait() if now < self._deadline + DECODING_SECONDS else None
        except queue.Empty:
            return self._wait_for_result() if now < self._deadline else None

    def _ask(self, function: Callable[[Task], Result]) -> None:
        while (task := self._take_task()) is not None:
            result = function(task)
            self._release_host(parse_host(task[1]))
            self._results.put(result)

    def _take_task(self) -> Task | None:
        with self._changed:
            while not self._turns and not self._is_closed:
                self._changed.wait()
            if self._is_closed:
                return None
            host = self._turns.popleft()
            task = self._waiting[host].popleft()
            self._at_work[host] += 1
            if self._waiting[host] and self._at_work[host] < self._host_share:
                self._turns.append(host)
            return task

    def _release_host(self, host: str) -> None:
        with self._changed:
            self._at_work[host] -= 1
            if self._waiting[host] and self._at_work[host] == self._host_share - 1:  # else the host is queued already
                self._turns.append(host)
                self._changed.notify()

    def terminate(self) -> None:
        """Stops the threads from taking another task."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def join(self) -> None:
        """Does not wait, since a name lookup may never return. The process exits without its threads."""
