"""Isolates the row of a unit that kills its worker, so that it is quarantined like any other bad row.

It works as for annotation (`pipelines.cluster.attempts`), but row by row, since no row depends on another: after a
worker dies, the next one restarts the unit and reports each row before working on it. A row at which two workers died
is quarantined. A run in a single process can't recover: a crash ends it.

A row that exceeds its CPU limit is quarantined at once where an exception can interrupt it; elsewhere the limit ends
its worker (`curation.cpu_limit`).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from curation.cpu_limit import CpuLimitExceeded, end_process_after, run_within
from pipelines.cluster.attempts import MAX_DEATHS, Attempts
from pipelines.cluster.runner import Runner
from pipelines.inputs.source_files import Item, RowRange
from pipelines.recipes.ingest import ROW_SECONDS
from schemas.records.quarantine import Reason, Rejected

RETRIES = 20  # of a unit: one death reveals that there is a poison row, two more isolate it: enough for nine rows

PROCESS_LIMIT_FACTOR = 2  # the process ends after this many times a row's seconds, so that an exception can come first

T = TypeVar("T")

_STAGES = ["addresses", "repeats", "ingest"]
_UNKNOWN = 1 << 62  # rows of a tar that has not been read yet


@dataclass(frozen=True, slots=True)
class RowWatch:
    """Records which rows killed workers and which row each works on. It can be pickled, for Ray workers."""

    ledger: Any  # the actor of `pipelines.cluster.ledger`; None for a run in one process
    row_seconds: float = ROW_SECONDS  # CPU seconds that one step on a row may take

    def run_within_limit(self, work: Callable[[], T]) -> T:
        """Runs one step on a row and returns its result. Raises `Rejected(too_slow)` over `row_seconds` of CPU."""
        if self.ledger is not None:
            end_process_after(PROCESS_LIMIT_FACTOR * self.row_seconds)
        try:
            return run_within(self.row_seconds, work)
        except CpuLimitExceeded as error:
            raise Rejected(Reason.TOO_SLOW, str(error)) from None

    def watch_rows(self, stage: str, unit: str, row_range: RowRange, items: Iterable[Item]) -> Iterator[Item]:
        """Yields the unit's items in order; a poison row comes as `Rejected(worker_killed)`.

        The caller must finish an item before it takes the next: an item counts as in work until then.
        """
        if self.ledger is None:
            yield from items
            return
        import ray

        rows = _UNKNOWN if row_range.stop is None else row_range.stop - row_range.start
        attempts: Attempts = ray.get(self.ledger.begin.remote(stage, unit, rows))
        poison_samples = set(attempts.poison_samples)
        for row, item in enumerate(items):
            if row in poison_samples:
                fault = Rejected(Reason.WORKER_KILLED, f"{MAX_DEATHS} workers died while processing only this row")
                yield replace(item, content=fault)
                continue
            if attempts.is_isolating:
                ray.get(self.ledger.start_range.remote(stage, unit, (row, row + 1)))
            yield item
        self.ledger.finish.remote(stage, unit)


def make_row_watch(runner: Runner, units: int, row_seconds: float) -> RowWatch:
    """Makes the watch of a run over a number of units."""
    if runner.is_in_process(units):
        return RowWatch(None, row_seconds)
    from pipelines.cluster.ledger import start_ledger

    runner.connect()
    return RowWatch(start_ledger(_STAGES), row_seconds)
