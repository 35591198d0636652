"""What the drivers of a run have done together, also where one of them has died."""

from collections import Counter
from dataclasses import asdict, replace

from pipelines.annotate.commits import BytesDone
from pipelines.annotate.drivers.report import DriverReport, ReportBook
from pipelines.cluster.ledger import Snapshot, StageCounts, StageState
from pipelines.output.totals import RunTimes


def report(life: str, counts: StageCounts, state: StageState, heartbeat: float = 0.0, **done: int) -> DriverReport:
    snapshot = Snapshot({"ocr": counts}, {"ocr": state}, heartbeat)
    rows = counts.images
    return DriverReport(life, snapshot, RunTimes(rows={"annotated": rows}, shards=rows // 10), BytesDone(**done))


def test_drivers_are_added_up() -> None:
    book = ReportBook(["ocr"])
    assert (book.sum_bytes(), book.sum_times().rows, book.get_latest(0)) == (BytesDone(), {}, None)
    one = StageCounts(2, 30, 3, deaths=1, busy_seconds=4.0, offered_seconds=6.0, working_seconds=9.0)
    other = StageCounts(1, 20, 2, busy_seconds=2.0, offered_seconds=3.0, working_seconds=7.0)
    one_state = StageState(2, 1, 3.0, 8.0, "shard-chunk a/1, samples 0 to 3", bytes_done=310, retrying=Counter(a=2))
    other_state = StageState(1, 0, 5.0, 6.0, "shard-chunk b/1, samples 0 to 3", bytes_done=200, retrying=Counter(a=1))
    assert not book.add(0, report("a", one, one_state, 4.0, skipped=10, written=300))
    assert not book.add(1, report("b", other, other_state, 2.0, skipped=5, written=200))
    counts = StageCounts(3, 50, 5, deaths=1, busy_seconds=6.0, offered_seconds=9.0, working_seconds=9.0)
    state = StageState(3, 1, 5.0, 8.0, "shard-chunk a/1, samples 0 to 3", bytes_done=510, retrying=Counter(a=3))
    assert book.sum_snapshots() == Snapshot({"ocr": counts}, {"ocr": state}, 2.0)
    assert book.sum_bytes() == BytesDone(15, 500)
    assert book.sum_times() == RunTimes(rows={"annotated": 50}, shards=5, stages={"ocr": asdict(counts)})


def test_a_life_that_has_ended_keeps_what_it_has_committed() -> None:
    """The rest will be done, or found, by another life. Its workers are gone."""
    book = ReportBook(["ocr"])
    book.add(0, report("a", StageCounts(2, 20, 2), StageState(2, bytes_done=230), written=200, uncommitted=50))
    assert not book.add(
        0, report("a", StageCounts(2, 30, 3), StageState(2, bytes_done=330), written=300, uncommitted=80)
    )
    second = report("b", StageCounts(1, 5, 1), StageState(1, bytes_done=60), skipped=80, written=50)
    assert book.add(0, replace(second, is_restarted=True))
    found = book.sum_snapshots()
    assert (found.stages["ocr"], found.states["ocr"]) == (StageCounts(1, 35, 4), StageState(1, bytes_done=310))
    assert book.sum_bytes() == BytesDone(80, 270)
    assert book.sum_times().rows == {"annotated": 35}
    book.end_life(0)
    book.end_life(0)
    assert (book.sum_snapshots().stages["ocr"].workers, book.get_latest(0)) == (0, None)
    assert book.sum_times().rows == {"annotated": 35}


def test_a_death_before_the_first_report_is_noticed() -> None:
    book = ReportBook(["ocr"])
    first = report("a", StageCounts(1, 5, 1), StageState(1))
    assert not book.add(0, first)
    assert book.add(1, replace(first, is_restarted=True))
    assert not book.add(1, replace(first, is_restarted=True))
    assert not book.add(0, replace(first, life="b")), "the same process works again, on shards that others left"
