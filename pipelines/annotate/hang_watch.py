"""Ends a worker whose work on a sample never comes back, so that the sample is found as one that kills is.

A thread of the worker looks at what is at work. Decoding is bounded by CPU seconds, an engine's batch by seconds on the
clock. It says to the run's ledger which samples these were and then kills its own process, for native code can't be
interrupted: another worker takes up the chunk, leaves out the image whose decoding had no end, or halves the batch in
which an engine hung until one sample stands alone.

Code that keeps Python's lock for itself stops this thread as well. While an image is decoded the kernel's timer ends
the process then (`curation.cpu_limit`); in an engine the run ends, as it does where one hangs at every image.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ray

from curation.cpu_limit import end_process_after
from curation.images.decode import DecodeLimits
from pipelines.cluster.attempts import Range

WORK_SHARE = 0.7  # of the time without progress that ends a run: seconds that a batch may take
DECODE_SHARE = 1.25  # of the CPU seconds after which decoding an image raises, if it can: then the process ends
FIRST_SHARE = 0.9  # of those: then this watch ends it, which knows the image
LEAST_SHARE = 0.05  # of a core: decoding that gets less for so long waits for something that never comes
SLOW_SHARE = 0.2  # of the seconds that a batch may take: from then on decoding one image gives signs of life
LOOK_SHARE = 0.01  # of the time without progress: from look to look
TELL_SECONDS = 10.0  # for the ledger to answer


@dataclass(frozen=True, slots=True)
class AtWork:
    """What the worker is doing."""

    chunk: str
    samples: Range
    is_decoding: bool
    since: float
    cpu_clock: int  # of the thread that works
    cpu_since: float


class HangWatch:
    """Watches one worker of a stage."""

    def __init__(self, ledger: ray.actor.ActorHandle, stage: str, patience: float, limits: DecodeLimits) -> None:
        self.ledger, self.stage = ledger, stage
        self.work_seconds = WORK_SHARE * patience
        self.decode_seconds = min(DECODE_SHARE * limits.max_seconds, self.work_seconds)
        self._look_seconds = LOOK_SHARE * patience
        self._at_work: AtWork | None = None

    def start(self) -> None:
        """Begins to watch, in a thread that ends with the process."""
        end_process_after(self.decode_seconds)
        threading.Thread(target=self._watch, daemon=True, name="hang-watch").start()

    @contextlib.contextmanager
    def at_work(self, chunk: str, samples: Range, is_decoding: bool = False) -> Iterator[None]:
        """While these samples are at work: one alone where it is decoded."""
        clock = time.pthread_getcpuclockid(threading.get_ident())
        self._at_work = AtWork(chunk, samples, is_decoding, time.monotonic(), clock, time.clock_gettime(clock))
        try:
            yield
        finally:
            self._at_work = None

    def is_hung(self, found: AtWork) -> bool:
        """Says whether this takes too long. Decoding that gets little of a busy core does not: it needs CPU time."""
        seconds = time.monotonic() - found.since
        if not found.is_decoding:
            return seconds > self.work_seconds
        cpu_seconds = time.clock_gettime(found.cpu_clock) - found.cpu_since
        is_waiting = seconds > self.work_seconds and cpu_seconds < LEAST_SHARE * seconds
        return is_waiting or cpu_seconds > FIRST_SHARE * self.decode_seconds

    def _watch(self) -> None:
        while True:
            time.sleep(self._look_seconds)
            found = self._at_work
            if found is None:
                continue
            if self.is_hung(found):
                if self._may_end(found) and self._at_work is found:
                    os.kill(os.getpid(), signal.SIGKILL)
            elif found.is_decoding and time.monotonic() - found.since > SLOW_SHARE * self.work_seconds:
                self.ledger.alive.remote()  # so that the run doesn't end before the bound is reached

    def _may_end(self, found: AtWork) -> bool:
        """Asks the ledger, which says no where it wouldn't help. Then it is asked again: others may get on."""
        answer: Any = self.ledger.hang.remote(self.stage, found.chunk, found.samples, found.is_decoding)
        with contextlib.suppress(ray.exceptions.RayError):
            return bool(ray.get(answer, timeout=TELL_SECONDS))
        return False
