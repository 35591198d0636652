"""Names a reader that makes no progress, and the shard at which it stays.

Each reader notes in a slot of memory, which its process shares with the trainer's, what it is reading. So the trainer
can say it of a process that is stopped, or that waits for a file server.
"""

import contextlib
import mmap
import struct
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

from schemas.log import LOG

_SLOT_BYTES = 1024  # of a longer path, the end is kept
_HEADER = struct.Struct("<qqH")


class ReaderState(NamedTuple):
    """Tells how far a reader is."""

    micro_batch: int  # number of the last micro-batch that it has begun; -1: none
    reads: int  # number of reads begun or ended
    shard: str  # path or URL of the read that has lasted longest, or of the last one; empty before the first


class ReaderSlots:
    """Holds the state of each reader, in memory that processes forked later share."""

    def __init__(self, readers: int) -> None:
        self._memory = mmap.mmap(-1, readers * _SLOT_BYTES)
        for reader in range(readers):
            self.write(reader, ReaderState(-1, 0, ""))

    def write(self, reader: int, state: ReaderState) -> None:
        """Stores a reader's state."""
        path = state.shard.encode(errors="replace")[-(_SLOT_BYTES - _HEADER.size) :]
        start = reader * _SLOT_BYTES
        self._memory[start : start + _HEADER.size + len(path)] = (
            _HEADER.pack(state.micro_batch, state.reads, len(path)) + path
        )

    def read(self, reader: int) -> ReaderState:
        """Returns a reader's state; it may be garbled while the reader writes, but not while the reader is stopped."""
        start = reader * _SLOT_BYTES
        micro_batch, reads, length = _HEADER.unpack(self._memory[start : start + _HEADER.size])
        path = self._memory[start + _HEADER.size : start + _HEADER.size + length]
        return ReaderState(micro_batch, reads, path.decode(errors="replace"))


class ReadReporter:
    """Notes in one reader's slot what it reads."""

    def __init__(self, slots: ReaderSlots, reader: int) -> None:
        self._slots, self._reader = slots, reader
        self._micro_batch, self._reads, self._last = -1, 0, ""
        self._open: dict[int, str] = {}  # reads that have begun, in order: some run in parallel
        self._lock = threading.Lock()

    def begin(self, micro_batch: int) -> None:
        """Notes that the reader begins a micro-batch."""
        self._micro_batch, self._last = micro_batch, ""
        self._write()

    @contextlib.contextmanager
    def report_read(self, shard: str) -> Iterator[None]:
        """Notes that the reader reads from a shard while the block lasts."""
        with self._lock:
            number = self._reads
            self._open[number], self._last = shard, shard
            self._write()
        try:
            yield
        finally:
            with self._lock:
                del self._open[number]
                self._write()

    def _write(self) -> None:
        self._reads += 1
        shard = next(iter(self._open.values()), self._last)
        self._slots.write(self._reader, ReaderState(self._micro_batch, self._reads, shard))


class StallWatch:
    """Warns while the trainer waits for a reader that makes no progress: after a period, and then ever more rarely."""

    def __init__(self, slots: ReaderSlots, period: float) -> None:
        """Takes the `period` in seconds."""
        self._slots, self._period = slots, period
        self._last_seen: tuple[int, ReaderState] | None = None
        self._last_progress_time = self._next_warning = 0.0

    def check(self, micro_batch: int, reader: int, name: str, first_shard: str) -> None:
        """Checks the reader that the trainer waits for, and warns if it is time.

        `name` describes the reader. `first_shard` is the shard to name if the reader has not begun the micro-batch.
        """
        state, now = self._slots.read(reader), time.monotonic()
        if self._last_seen != (micro_batch, state):
            self._last_seen, self._last_progress_time, self._next_warning = (micro_batch, state), now, self._period
            return
        waited = now - self._last_progress_time
        if waited < self._next_warning:
            return
        self._next_warning = 2 * waited
        shard = state.shard if state.micro_batch == micro_batch and state.shard else first_shard
        LOG.warning(
            f"data: {name} has made no progress for {waited:.0f} s, at {shard}: look after its process and its disk or "
            "server; training waits, and SIGTERM ends it with a checkpoint"
        )
