"""Reports what one worker does to the run's ledger, at little cost for both.

A worker keeps its events for a second, or longer where it has many fellows, and sends them as one list. If it dies, the
events that wait are lost with it, also the start of the chunk that it died on. So the process that Ray starts in its
place waits for the ledger at the start of each chunk: a poison sample then costs one death more than if the ledger had
known of the first.
"""

import threading
import time
from collections.abc import Mapping
from typing import Any

import ray

from pipelines.cluster.attempts import Attempts, Range
from pipelines.cluster.ledger_events import Begin, Event, Finish, Heartbeat, Progress, Retrying
from pipelines.cluster.machine import get_peak_bytes

SEND_SECONDS, MAX_SEND_SECONDS = 1.0, 10.0  # for which an event may wait
CALLS_PER_SECOND = 5.0  # of all workers of a stage, unless an event would wait for longer than that
MAX_STALL_SHARE = 0.1  # of the run's `stall_seconds`, for which an event may wait
FLUSH_TIMEOUT_SECONDS = 5.0  # for the ledger to take the last events of a worker that ends


def choose_send_seconds(workers: int, stall_seconds: float) -> float:
    """Returns for how long events wait where a stage has this many workers, so that their calls stay few."""
    return min(max(SEND_SECONDS, workers / CALLS_PER_SECOND), MAX_SEND_SECONDS, MAX_STALL_SHARE * stall_seconds)


class LedgerClient:
    """Reports for the actor that this process runs, a worker of `stage`."""

    def __init__(self, ledger: ray.actor.ActorHandle, stage: str, send_seconds: float = SEND_SECONDS) -> None:
        context = ray.get_runtime_context()
        self._ledger, self._stage, self._send_seconds = ledger, stage, send_seconds
        self._worker = str(context.get_actor_id())
        self._is_restarted = bool(context.was_current_actor_reconstructed)
        self._events: list[Event] = []
        self._lock = threading.Lock()
        self._has_events = threading.Event()
        threading.Thread(target=self._send_regularly, daemon=True, name="ledger").start()

    def add_worker(self) -> None:
        """Reports that the worker is ready."""
        self._ledger.add_worker.remote(self._stage, self._worker, self._is_restarted)

    def begin(self, chunk: str, rows: int, size: int, start: int = 0, is_last: bool = False) -> Attempts:
        """Reports that the worker starts a chunk, or a slice. Returns what earlier attempts at it have shown.

        `is_last` is that of `finish`: otherwise the ledger would hear of the start with the end.
        """
        if not self._is_restarted:
            self._add(Begin(time.monotonic(), chunk, rows, size, start), is_last)
            return Attempts((0, rows))
        return self._ask("begin", self._stage, chunk, rows, size, self._worker, start)  # type: ignore[no-any-return]

    def has_deaths(self, chunk: str) -> bool:
        """Returns whether workers have died on the chunk, as far as this process asks: at the start of each chunk."""
        return self._is_restarted and bool(self._ask("has_deaths", self._stage, chunk))

    def start_range(self, chunk: str, at_work: Range) -> None:
        """Reports that an isolating worker is about to start on this range alone."""
        self._ask("start_range", self._stage, chunk, at_work)

    def record_progress(self, chunk: str, images: int, busy_seconds: float) -> None:
        """Reports images of the chunk that are done."""
        self._add(Progress(time.monotonic(), chunk, images, busy_seconds))

    def finish(self, chunk: str, ends_chunk: bool = True, is_last: bool = False) -> None:
        """Reports that the chunk is done, or a slice, which may be the last of its chunk.

        Sends the events at once where no other may follow: the worker may soon end, and a worker that ends is not
        always able to send any more.
        """
        self._add(Finish(time.monotonic(), chunk, ends_chunk, get_peak_bytes()), is_last)

    def record_heartbeat(self) -> None:
        """Reports that the worker is alive and works."""
        self._add(Heartbeat(time.monotonic()))

    def record_retries(self, requests: Mapping[str, int]) -> None:
        """Reports the requests to a server that are being retried, by the reason. Only the last report is sent."""
        with self._lock:
            self._events = [event for event in self._events if not isinstance(event, Retrying)]
        self._add(Retrying(time.monotonic(), requests))

    def add_notice(self, line: str) -> None:
        """Reports a line that the user should read."""
        self._ledger.add_notice.remote(line)

    def report_hang(self, chunk: str, at_work: Range, is_decoding: bool, timeout: float) -> bool:
        """Reports samples from which the worker never returns. Returns whether to end it. Raises `RayError`."""
        return bool(self._ask("report_hang", self._stage, chunk, at_work, is_decoding, timeout=timeout))

    def recycle_worker(self) -> None:
        """Reports that the worker ends itself between two chunks. Raises `RayError`."""
        self._ask("recycle_worker", self._stage, self._worker)

    def flush(self) -> None:
        """Sends the events that wait, and waits until the ledger has them. Raises `RayError`."""
        if (sent := self._send()) is not None:
            ray.get(sent, timeout=FLUSH_TIMEOUT_SECONDS)

    def _ask(self, question: str, *arguments: Any, timeout: float | None = None) -> Any:
        """Asks the ledger, which gets the events that wait before the question."""
        self._send()
        return ray.get(getattr(self._ledger, question).remote(*arguments), timeout=timeout)

    def _add(self, event: Event, at_once: bool = False) -> None:
        with self._lock:
            self._events.append(event)
        if at_once:
            self._send()
        else:
            self._has_events.set()

    def _send(self) -> ray.ObjectRef | None:
        with self._lock:
            events, self._events = self._events, []
            self._has_events.clear()
            if not events:
                return None
            return self._ledger.record.remote(self._stage, self._worker, time.monotonic(), events)

    def _send_regularly(self) -> None:
        while True:
            self._has_events.wait()
            time.sleep(self._send_seconds)
            self._send()
