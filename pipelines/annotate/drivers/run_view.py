"""Shows the progress of an annotation run and exports its metrics, for one driver or for the sum of several."""

from collections.abc import Sequence

from pipelines.annotate.commits import BytesDone
from pipelines.annotate.drivers.metrics import export_run_metrics
from pipelines.annotate.graph_watch import describe_retries, describe_start
from pipelines.cluster.ledger import Snapshot
from pipelines.cluster.prometheus import BYTES_LEFT, SHARDS_LEFT, Exporter
from pipelines.output.totals import RunTimes
from pipelines.terminal.progress import Progress
from schemas.log import LOG


class RunView:
    """Shows a run over `shards` shards."""

    def __init__(self, progress: Progress, times: RunTimes, exporter: Exporter | None, shards: int) -> None:
        self.progress, self.times, self.exporter, self.shards = progress, times, exporter, shards
        self._bytes_skipped = self._bytes_by_others = 0
        self._logged_notices: set[str] = set()

    def show(self, snapshot: Snapshot, done: BytesDone, note: str) -> None:
        """Shows the state of the run; `note`, and what is being retried, are added to the line."""
        last = list(snapshot.stages)[-1]
        counts, state = snapshot.stages[last], snapshot.states[last]
        if not counts.images and not state.at_work:
            self.progress.restart_clock()
        self.show_bytes(done, state.bytes_done)
        note = "; ".join(filter(None, (describe_retries(snapshot), note)))
        self.progress.show(counts.images, describe_start(snapshot), note)
        self.update(snapshot)

    def show_bytes(self, done: BytesDone, finished: int = 0) -> None:
        """Raises the progress to the bytes that the last pool has `finished`, of whole chunks or not.

        A part of this run counts there already, unless the ledger has lost its counts.
        """
        self.progress.skip(done.skipped - self._bytes_skipped)
        self._bytes_skipped = done.skipped
        self.progress.reach(self._bytes_by_others + done.skipped + max(finished, done.written))

    def skip_shards(self, sizes: Sequence[int]) -> None:
        """Adds shards of these sizes that other runs have committed."""
        self.shards -= len(sizes)
        self._bytes_by_others += sum(sizes)
        self.progress.skip(sum(sizes))

    def update(self, snapshot: Snapshot) -> None:
        """Logs the lines of workers that were not logged before, and exports the state of the run to Prometheus."""
        for line in snapshot.notices:
            if line not in self._logged_notices:
                self._logged_notices.add(line)
                LOG.warning(line)
        if self.exporter is not None:
            export_run_metrics(self.exporter, snapshot, self.times)
            self.exporter.export(SHARDS_LEFT, self.shards - self.times.shards)
            self.exporter.export(BYTES_LEFT, self.progress.total - self.progress.done)

    def close(self) -> None:
        """Resets the gauges of the stages, because this process may continue."""
        if self.exporter is not None:
            self.exporter.reset_stage_gauges()
