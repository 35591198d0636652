"""Ends a worker that hangs on a sample, so that the sample is found in the same way as a poison sample.

A thread of the worker watches the samples in progress. Decoding is bounded by CPU seconds. An engine's batch hangs when
it has had its time on the clock and has spent all of it working or none of it: on a busy machine it may go on, and a
heartbeat keeps the run from stalling. An engine that waits for a server says how long it may wait. The thread reports
the samples to the run's ledger and then kills its own process, because native code can't be interrupted. Another worker
restarts the chunk: it leaves out the image whose decoding hung, or halves the batch on which an engine hung, until one
sample stands alone.

Code that never releases the GIL stops this thread as well. While an image is decoded, the kernel's timer then ends the
process (`curation.cpu_limit`). In an engine the run ends, as it does where an engine hangs on every image.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import ray

from curation.cpu_limit import end_process_after
from curation.images.decode import DecodeLimits
from pipelines.cluster.attempts import Range
from pipelines.cluster.ledger_client import LedgerClient

BATCH_TIMEOUT_SHARE = 0.7  # a batch may take this share of `stall_seconds`, after which the run would end
DECODE_KILL_FACTOR = 1.25  # the kernel ends the process at this share of `max_seconds`, where decoding raises if it can
DECODE_WATCH_SHARE = 0.9  # this watch ends it before, at this share of that bound, because it knows the image
MIN_CPU_SHARE = 0.05  # work that gets a smaller share of a core, for as long as a batch may take, waits in vain
DECODE_HEARTBEAT_SHARE = 0.2  # work sends heartbeats from this share of a batch's time on
POLL_SHARE = 0.01  # the watch looks once in this share of `stall_seconds`
LEDGER_TIMEOUT_SECONDS = 10.0  # within which the ledger must answer


@dataclass(frozen=True, slots=True)
class WorkInProgress:
    """Describes what the worker is doing."""

    chunk: str
    samples: Range
    is_decoding: bool
    wait_seconds: float  # for which the engine may wait for a server
    since: float
    cpu_clock: int  # the clock of the working thread
    cpu_since: float


class HangWatch:
    """Watches one worker. Its time limits are shares of the run's `stall_seconds`."""

    def __init__(self, ledger: LedgerClient, stall_seconds: float, limits: DecodeLimits) -> None:
        self.ledger = ledger
        self.work_seconds = BATCH_TIMEOUT_SHARE * stall_seconds
        self.decode_seconds = min(DECODE_KILL_FACTOR * limits.max_seconds, self.work_seconds)
        self._poll_seconds = POLL_SHARE * stall_seconds
        self._at_work: dict[int, WorkInProgress] = {}  # several where an engine takes concurrent calls
        self._last_end = 0.0  # of any work

    def start(self) -> None:
        """Starts the watching thread, which ends with the process."""
        end_process_after(self.decode_seconds)
        threading.Thread(target=self._watch, daemon=True, name="hang-watch").start()

    @contextlib.contextmanager
    def track_work(
        self, chunk: str, samples: Range, is_decoding: bool = False, wait_seconds: float = 0.0
    ) -> Iterator[WorkInProgress]:
        """Marks these samples as in progress inside a `with` block: a single sample where it is decoded."""
        # an engine works in threads of its own, decoding in this one
        clock = time.pthread_getcpuclockid(threading.get_ident()) if is_decoding else time.CLOCK_PROCESS_CPUTIME_ID
        work = WorkInProgress(
            chunk, samples, is_decoding, wait_seconds, time.monotonic(), clock, time.clock_gettime(clock)
        )
        self._at_work[id(work)] = work
        try:
            yield work
        finally:
            del self._at_work[id(work)]
            self._last_end = time.monotonic()

    def is_hung(self, work: WorkInProgress) -> bool:
        """Returns whether this takes too long. What gets little CPU time, on a busy machine, may go on."""
        seconds, cpu_seconds = self._seconds(work)
        if work.wait_seconds:  # the requests of a batch may wait for those of the batches before it
            waited = time.monotonic() - max(work.since, self._last_end)
            return waited > work.wait_seconds + self.work_seconds
        if work.is_decoding and cpu_seconds > DECODE_WATCH_SHARE * self.decode_seconds:
            return True
        is_waiting = cpu_seconds < MIN_CPU_SHARE * seconds
        return seconds > self.work_seconds and (is_waiting or cpu_seconds > self.work_seconds)

    def is_slow(self, found: WorkInProgress) -> bool:
        """Returns whether this needs a heartbeat, so that the run does not stall before the bound is reached."""
        seconds, cpu_seconds = self._seconds(found)
        is_working = found.is_decoding or found.wait_seconds or cpu_seconds >= MIN_CPU_SHARE * seconds
        return bool(is_working) and seconds > DECODE_HEARTBEAT_SHARE * self.work_seconds

    def _seconds(self, found: WorkInProgress) -> tuple[float, float]:
        """Returns the seconds since this began: on the clock, and of CPU time."""
        return time.monotonic() - found.since, time.clock_gettime(found.cpu_clock) - found.cpu_since

    def _watch(self) -> None:
        while True:
            time.sleep(self._poll_seconds)
            for found in list(self._at_work.values()):
                if self.is_hung(found):
                    if self._may_end(found) and id(found) in self._at_work:
                        os.kill(os.getpid(), signal.SIGKILL)
                elif self.is_slow(found):
                    self.ledger.record_heartbeat()

    def _may_end(self, found: WorkInProgress) -> bool:
        """Asks the ledger whether to end this process. It refuses where that would not help.

        The next look asks again, because other workers may have made progress.
        """
        with contextlib.suppress(ray.exceptions.RayError):
            return self.ledger.report_hang(found.chunk, found.samples, found.is_decoding, LEDGER_TIMEOUT_SECONDS)
        return False
