"""Adds up what the drivers of a run report."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields

from pipelines.annotate.commits import BytesDone
from pipelines.cluster.ledger import Snapshot, StageCounts, StageState
from pipelines.output.totals import RunTimes


@dataclass(slots=True)
class DriverReport:
    """Reports what one life of a driver has done so far. Its ledger has counted since the life began."""

    life: str
    snapshot: Snapshot
    times: RunTimes = field(default_factory=RunTimes)
    bytes: BytesDone = field(default_factory=BytesDone)
    stall: str = ""  # why it makes no progress; empty while it does
    is_restarted: bool = False  # its process is not the first


class ReportBook:
    """Keeps the latest report of each life of each driver, and adds them up."""

    def __init__(self, stages: Sequence[str]) -> None:
        self._stages = list(stages)
        self._ended: list[DriverReport] = []
        self._latest: dict[int, DriverReport] = {}

    def add(self, driver: int, report: DriverReport) -> bool:
        """Adds a driver's report. Returns whether it is the first one of a process that was started again.

        The process before may have died before its first report.
        """
        before = self._latest.get(driver)
        is_new = before is None or before.life != report.life
        if is_new:
            self.end_life(driver)
        self._latest[driver] = report
        return is_new and report.is_restarted

    def end_life(self, driver: int) -> None:
        """Records that the life of the driver has ended: its workers are gone, and others redo what is uncommitted."""
        if (report := self._latest.pop(driver, None)) is not None:
            self._ended.append(report)

    def get_latest(self, driver: int) -> DriverReport | None:
        """Returns the latest report of a driver; None before its first."""
        return self._latest.get(driver)

    def sum_times(self) -> RunTimes:
        """Returns the sum of all times and counts, with the counts of the stages."""
        total = sum((report.times for report in self._all()), RunTimes())
        total.stages = {stage: asdict(counts) for stage, counts in self.sum_snapshots().stages.items()}
        return total

    def sum_bytes(self) -> BytesDone:
        """Returns the sum of the bytes done. What a life that has ended had not committed will be counted again."""
        total = BytesDone()
        for report in self._all():
            total.skipped += report.bytes.skipped
            total.written += report.bytes.written
        for report in self._ended:
            total.written -= report.bytes.uncommitted
        return total

    def sum_snapshots(self) -> Snapshot:
        """Returns the state of all drivers as one."""
        latest = [report.snapshot for report in self._latest.values()]
        ended = [report.snapshot for report in self._ended]
        stages = {
            stage: add_counts([each.stages[stage] for each in latest], [each.stages[stage] for each in ended])
            for stage in self._stages
        }
        states = {stage: add_states(each.states[stage] for each in latest) for stage in self._stages}
        for stage in self._stages:
            finished = sum(each.states[stage].bytes_done for each in ended)
            states[stage].bytes_done += finished - sum(report.bytes.uncommitted for report in self._ended)
        heartbeats = [each.seconds_since_heartbeat for each in latest]
        notices = dict.fromkeys(line for report in self._all() for line in report.snapshot.notices)
        return Snapshot(stages, states, min(heartbeats, default=0.0), list(notices))

    def _all(self) -> Iterable[DriverReport]:
        return [*self._ended, *self._latest.values()]


def add_counts(latest: Sequence[StageCounts], ended: Sequence[StageCounts]) -> StageCounts:
    """Returns the sum of a stage's counts. The workers of a life that has ended are gone.

    Drivers work at the same time, so that the longest time counts as the time in which the stage worked.
    """
    total = StageCounts()
    for counts in [*latest, *ended]:
        for each in fields(StageCounts):
            setattr(total, each.name, getattr(total, each.name) + getattr(counts, each.name))
    total.workers = sum(counts.workers for counts in latest)
    total.working_seconds = max((counts.working_seconds for counts in [*latest, *ended]), default=0.0)
    return total


def add_states(states: Iterable[StageState]) -> StageState:
    """Returns the state of a stage over all drivers; for times, that of the driver which waits longest."""
    total = StageState()
    for state in states:
        total.at_work += state.at_work
        total.queued += state.queued
        total.bytes_done += state.bytes_done
        total.retrying += state.retrying
        total.seconds_since_progress = max(total.seconds_since_progress, state.seconds_since_progress)
        if state.oldest_chunk_seconds >= total.oldest_chunk_seconds:
            total.oldest_chunk_seconds, total.oldest_chunk = state.oldest_chunk_seconds, state.oldest_chunk
    return total


def make_empty_snapshot(stages: Sequence[str]) -> Snapshot:
    """Returns the snapshot of a driver that has not begun."""
    return Snapshot({stage: StageCounts() for stage in stages}, {stage: StageState() for stage in stages})
