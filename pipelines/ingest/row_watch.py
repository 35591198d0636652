"""Finds the row of a unit that kills its worker, so that it is left out as any other bad row is.

As for annotation (`pipelines.cluster.attempts`), but row by row, for here no row depends on another: a unit whose
worker has died is begun anew by one that says which row it is about to work on, and a row at which two have died is
left out. A run in one process has nobody to find out: there, a crash is the end of it.

A row that takes too long is left out at once where that can be raised; where it can't, it kills its worker
(`curation.cpu_limit`).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from curation.cpu_limit import CpuLimitExceeded, end_process_after, run_within
from pipelines.cluster.attempts import DEATHS, Attempts
from pipelines.cluster.runner import Runner
from pipelines.inputs.source_files import Item, Stretch
from pipelines.recipes.ingest import ROW_SECONDS
from schemas.records.quarantine import Reason, Rejected

RETRIES = 20  # of a unit: one death tells that there is a killer, and two more which row it is: so nine are found

PROCESS_SHARE = 2  # times the seconds of a row, after which the process ends: what can be raised comes first

T = TypeVar("T")

_STAGES = ["addresses", "repeats", "ingest"]
_UNKNOWN = 1 << 62  # rows of a tar that has not been read


@dataclass(frozen=True, slots=True)
class RowWatch:
    """What has killed workers so far, and what they are at. Pickles, for Ray workers."""

    ledger: Any  # the actor of `pipelines.cluster.ledger`; None for a run in one process
    row_seconds: float = ROW_SECONDS  # CPU seconds that one piece of work on a row may take

    def within(self, work: Callable[[], T]) -> T:
        """Returns what the work on one row does. Raises `Rejected(too_slow)` where it takes too long."""
        if self.ledger is not None:
            end_process_after(PROCESS_SHARE * self.row_seconds)
        try:
            return run_within(self.row_seconds, work)
        except CpuLimitExceeded as error:
            raise Rejected(Reason.TOO_SLOW, str(error)) from None

    def rows(self, stage: str, unit: str, stretch: Stretch, items: Iterable[Item]) -> Iterator[Item]:
        """The unit's items in their order, of killers only the name. Each is worked on until the next is asked for."""
        if self.ledger is None:
            yield from items
            return
        import ray

        rows = _UNKNOWN if stretch.stop is None else stretch.stop - stretch.start
        attempts: Attempts = ray.get(self.ledger.begin.remote(stage, unit, rows))
        killers = set(attempts.killers)
        for row, item in enumerate(items):
            if row in killers:
                fault = Rejected(Reason.WORKER_KILLED, f"{DEATHS} workers died while they were at work on this row")
                yield replace(item, content=fault)
                continue
            if attempts.careful:
                ray.get(self.ledger.enter.remote(stage, unit, (row, row + 1)))
            yield item
        self.ledger.finish.remote(stage, unit)


def row_watch(runner: Runner, units: int, row_seconds: float) -> RowWatch:
    """The watch of a run over so many units."""
    if runner.works_here(units):
        return RowWatch(None, row_seconds)
    from pipelines.cluster.ledger import start_ledger

    runner.connect()
    return RowWatch(start_ledger(_STAGES), row_seconds)
