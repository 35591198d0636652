"""What the ledger makes of what workers report."""

import pytest

from pipelines.cluster.ledger import MAX_HANGS, Ledger, StageCounts, StageState
from tests.support.clock import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("pipelines.cluster.ledger.time", made)
    return made


def chunk(ledger: Ledger, stage: str, name: str, images: int = 4, seconds: float = 2.0) -> None:
    ledger.begin(stage, name, images)
    ledger.record_progress(stage, images, seconds)
    ledger.finish(stage, name)


def test_counts_and_queues(clock: Clock) -> None:
    ledger = Ledger(["decode", "ocr"])
    ledger.add_worker("decode")
    ledger.add_worker("ocr")
    for name in ("a/0", "a/1", "a/2"):
        chunk(ledger, "decode", name)
    assert ledger.snapshot().states == {"decode": StageState(), "ocr": StageState(queued=3)}
    ledger.begin("ocr", "a/1", 4)
    clock.now += 5
    ledger.begin("ocr", "a/0", 4)
    clock.now += 3
    found = ledger.snapshot()
    oldest = "shard-chunk a/1, samples 0 to 3"
    assert found.states["ocr"] == StageState(
        2, 1, seconds_since_progress=3, oldest_chunk_seconds=8, oldest_chunk=oldest
    )
    assert (found.seconds_since_heartbeat, found.stages["decode"]) == (3, StageCounts(1, 12, 3, busy_seconds=6))
    ledger.finish("ocr", "a/1")
    assert ledger.snapshot().states["ocr"].oldest_chunk == "shard-chunk a/0, samples 0 to 3"


@pytest.mark.usefixtures("clock")
def test_bytes_are_done_with_their_images() -> None:
    """And once: what a dead worker has done of a chunk is done again."""
    ledger = Ledger(["ocr"])

    def done() -> int:
        return ledger.snapshot().states["ocr"].bytes_done

    ledger.begin("ocr", "a/0", 4, 1000)
    ledger.begin("ocr", "a/1", 3, 600)
    assert done() == 0
    ledger.record_progress("ocr", 1, 2.0, "a/0")
    assert done() == 250
    ledger.record_progress("ocr", 2, 2.0, "a/1")
    assert done() == 650
    ledger.begin("ocr", "a/0", 4, 1000)  # its worker has died
    assert done() == 400
    ledger.record_progress("ocr", 4, 2.0, "a/0")
    ledger.finish("ocr", "a/0")
    ledger.finish("ocr", "a/1")  # but for a poison sample, which counts when the chunk is done
    assert done() == 1600
    ledger.record_progress("ocr", 4, 2.0, "b/0")  # of a chunk from before a restart
    ledger.finish("ocr", "b/0")
    assert done() == 1600


@pytest.mark.usefixtures("clock")
def test_a_chunk_that_is_done_twice_waits_once() -> None:
    ledger = Ledger(["decode", "ocr"])
    for _ in range(2):  # its worker died after it had said that it was done
        chunk(ledger, "decode", "a/0")
    assert ledger.snapshot().states["ocr"].queued == 1
    ledger.begin("ocr", "a/0", 4)
    assert ledger.snapshot().states["ocr"].queued == 0


def test_time_without_progress_counts_while_there_is_work(clock: Clock) -> None:
    ledger = Ledger(["decode", "ocr"])
    clock.now += 100
    assert [state.seconds_since_progress for state in ledger.snapshot().states.values()] == [0, 0]
    chunk(ledger, "decode", "a/0")
    clock.now += 1
    chunk(ledger, "decode", "a/1")
    clock.now += 1
    assert ledger.snapshot().states["ocr"].seconds_since_progress == 2  # since it has had work at all
    assert (
        ledger.snapshot().states["decode"].seconds_since_progress == 0
    )  # nothing at work, and nobody knows what is to come


def test_deaths_and_recycled_workers(clock: Clock) -> None:
    ledger = Ledger(["ocr"])
    for _ in range(2):
        ledger.add_worker("ocr")
    clock.now += 60  # nothing to do yet
    ledger.begin("ocr", "a/0", 4)
    ledger.begin("ocr", "a/1", 4)
    clock.now += 10
    ledger.add_worker("ocr")  # in place of the one that died
    attempts = ledger.begin("ocr", "a/0", 4)
    assert (attempts.is_isolating, attempts.deaths) == (True, {(0, 4): 1})
    ledger.start_range("ocr", "a/0", (2, 3))
    assert ledger.snapshot().states["ocr"].oldest_chunk == "shard-chunk a/1, samples 0 to 3"
    ledger.finish("ocr", "a/1")
    ledger.recycle_worker("ocr")
    assert ledger.snapshot().states["ocr"].oldest_chunk == "shard-chunk a/0, samples 2 to 2"
    clock.now += 10
    ledger.finish("ocr", "a/0")
    counts = StageCounts(1, 0, 2, deaths=1, recycled=1, offered_seconds=2 * 10 + 1 * 10, working_seconds=20)
    assert ledger.snapshot().stages["ocr"] == counts


@pytest.mark.usefixtures("clock")
def test_a_ledger_that_has_started_again() -> None:
    """It hears of chunks that it knows nothing of."""
    ledger = Ledger(["decode", "ocr"])
    ledger.start_range("decode", "a/0", (1, 2))
    ledger.finish("decode", "a/0")
    ledger.finish("ocr", "a/1")
    found = ledger.snapshot()
    assert [counts.chunks for counts in found.stages.values()] == [1, 1]
    assert found.states == {"decode": StageState(), "ocr": StageState(queued=1)}


def test_workers_of_a_ledger_that_has_started_again(clock: Clock) -> None:
    """They are counted as they are seen, and are never fewer than none."""
    ledger = Ledger(["ocr"])
    ledger.recycle_worker("ocr")
    assert ledger.snapshot().stages["ocr"].workers == 0
    ledger.begin("ocr", "a/0", 4)
    ledger.begin("ocr", "a/1", 4)
    clock.now += 10
    ledger.finish("ocr", "a/0")
    ledger.begin("ocr", "a/2", 4)
    counts = StageCounts(2, 0, 1, recycled=1, offered_seconds=2 * 10, working_seconds=10)
    assert ledger.snapshot().stages["ocr"] == counts


def test_a_worker_that_hangs_is_ended_where_that_helps(clock: Clock) -> None:
    ledger = Ledger(["decode", "ocr"])
    ledger.begin("decode", "a/0", 4)
    ledger.begin("ocr", "a/0", 4)
    clock.now += 50
    assert not ledger.report_hang("ocr", "a/0", (0, 4), is_decoding=False), (
        "the engine has done nothing yet: it may be broken"
    )
    assert ledger.snapshot().seconds_since_heartbeat == 50, "so that the run ends"
    assert ledger.report_hang("decode", "a/0", (2, 3), is_decoding=True)
    assert ledger.snapshot().seconds_since_heartbeat == 0
    attempts = ledger.begin("decode", "a/0", 4)
    assert (attempts.poison_samples, attempts.is_isolating, ledger.snapshot().stages["decode"].deaths) == ([2], True, 1)
    chunk(ledger, "ocr", "a/1")
    assert ledger.report_hang("ocr", "a/0", (0, 4), is_decoding=False)
    assert ledger.begin("ocr", "a/0", 4).plan_ranges(4, 4) == [(0, 2), (2, 4)]
    assert not ledger.report_hang("ocr", "b/0", (0, 4), is_decoding=False), "a chunk that it knows nothing of"


@pytest.mark.usefixtures("clock")
def test_an_engine_that_hangs_at_everything_ends_the_run() -> None:
    ledger = Ledger(["ocr"])
    chunk(ledger, "ocr", "a/0")
    ledger.begin("ocr", "a/1", 4)
    for _ in range(2):
        assert [ledger.report_hang("ocr", "a/1", (0, 4), is_decoding=False) for _ in range(MAX_HANGS + 1)] == [
            *([True] * MAX_HANGS),
            False,
        ]
        ledger.record_progress("ocr", 1, 1.0)


def test_a_line_of_several_workers_is_kept_once() -> None:
    ledger = Ledger(["ocr"])
    for line in ("a worker computes 4", "a worker computes 2", "a worker computes 4"):
        ledger.add_notice(line)
    assert ledger.snapshot().notices == ["a worker computes 4", "a worker computes 2"]
