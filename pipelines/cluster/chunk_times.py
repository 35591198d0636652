"""Defines a ledger that also keeps when each chunk was worked on, and the memory of each worker: for short runs."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.cluster.ledger import Ledger
from pipelines.cluster.ledger_events import Event, Finish


@dataclass(frozen=True, slots=True)
class ChunkTime:
    """Says when a worker of a stage worked on a chunk, in seconds of the clock of the ledger's machine."""

    stage: str
    worker: str
    chunk: str
    rows: int
    size: int  # bytes of the samples in their tar
    started: float
    ended: float

    @property
    def seconds(self) -> float:
        """Returns how long it took."""
        return self.ended - self.started


class TimedLedger(Ledger):
    """Implements the actor of `Ledger`. It grows with every chunk."""

    def __init__(self, stages: list[str]) -> None:
        super().__init__(stages)
        self._times: list[ChunkTime] = []
        self._peaks: dict[tuple[str, str], int] = {}  # stage and worker -> bytes

    def record(self, stage: str, worker: str, sent_at: float, events: Sequence[Event]) -> None:
        """See `Ledger`."""
        for event in events:
            if isinstance(event, Finish):
                self._peaks[stage, worker] = max(event.peak_bytes, self._peaks.get((stage, worker), 0))
        super().record(stage, worker, sent_at, events)

    def list_times(self) -> list[ChunkTime]:
        """Returns the chunks that are done, in the order in which they were reported."""
        return self._times

    def list_peaks(self) -> dict[str, list[int]]:
        """Returns the most memory that each worker had, in bytes, by stage."""
        peaks: dict[str, list[int]] = {}
        for (stage, _), peak in sorted(self._peaks.items()):
            peaks.setdefault(stage, []).append(peak)
        return peaks

    def _finish(self, stage: str, chunk: str, at: float, ends_chunk: bool = True) -> None:
        if (begun := self._in_progress[stage].get(chunk)) is not None:
            found = ChunkTime(stage, begun.worker, chunk, begun.rows, begun.size, begun.started, at)
            self._times.append(found)
        super()._finish(stage, chunk, at, ends_chunk)
