"""What the ledger makes of what workers report."""

import pytest

from pipelines.cluster import ledger as ledger_module
from pipelines.cluster.ledger import MAX_HANGS, Ledger, StageCounts, StageState
from pipelines.cluster.ledger_events import Begin, Event, Finish, Heartbeat, Progress, Retrying
from tests.support.clock import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("pipelines.cluster.ledger.time", made)
    return made


def progress(ledger: Ledger, stage: str, name: str, images: int, seconds: float) -> None:
    """An event that happens as it arrives."""
    now = ledger_module.time.monotonic()
    ledger.record(stage, "", now, [Progress(now, name, images, seconds)])


def chunk(ledger: Ledger, stage: str, name: str, images: int = 4, seconds: float = 2.0) -> None:
    ledger.begin(stage, name, images)
    progress(ledger, stage, name, images, seconds)
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
    progress(ledger, "ocr", "a/0", 1, 2.0)
    assert done() == 250
    progress(ledger, "ocr", "a/1", 2, 2.0)
    assert done() == 650
    ledger.begin("ocr", "a/0", 4, 1000)  # its worker has died
    assert done() == 400
    progress(ledger, "ocr", "a/0", 4, 2.0)
    ledger.finish("ocr", "a/0")
    ledger.finish("ocr", "a/1")  # but for a poison sample, which counts when the chunk is done
    assert done() == 1600
    progress(ledger, "ocr", "b/0", 4, 2.0)  # of a chunk from before a restart
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
        progress(ledger, "ocr", "a/1", 1, 1.0)


class Worker:
    """Reports as a worker of a stage does, by a clock that is another machine's."""

    def __init__(self, ledger: Ledger, stage: str, name: str, clock: Clock) -> None:
        self.ledger, self.stage, self.name, self.clock, self.events = ledger, stage, name, clock, list[Event]()

    def now(self) -> float:
        return self.clock.now - 500

    def chunk(self, name: str, images: int = 4) -> None:
        """Works on a chunk for two seconds."""
        self.events.append(Begin(self.now(), name, images, 100 * images))
        self.clock.now += 2
        self.events += [Progress(self.now(), name, images, 2.0), Finish(self.now(), name)]

    def send(self, count: int | None = None) -> None:
        """Sends the first of its events, or all."""
        sent, self.events = self.events[:count], self.events[len(self.events[:count]) :]
        self.ledger.record(self.stage, self.name, self.now(), sent)


def test_events_count_when_they_happened(clock: Clock) -> None:
    ledger = Ledger(["ocr"])
    ledger.add_worker("ocr", "x")
    worker = Worker(ledger, "ocr", "x", clock)
    worker.chunk("a/0")
    clock.now += 1
    worker.send()
    found = ledger.snapshot()
    counts = StageCounts(1, 4, 1, busy_seconds=2.0, offered_seconds=2.0, working_seconds=2.0)
    assert (found.stages["ocr"], found.seconds_since_heartbeat) == (counts, 1.0)
    worker.events = [Begin(worker.now(), "a/1", 4, 400)]
    clock.now += 3
    worker.events.append(Heartbeat(worker.now()))
    clock.now += 1
    worker.send()
    found = ledger.snapshot()
    oldest = "shard-chunk a/1, samples 0 to 3"
    state = StageState(1, seconds_since_progress=4.0, oldest_chunk_seconds=4.0, oldest_chunk=oldest, bytes_done=400)
    assert (found.states["ocr"], found.seconds_since_heartbeat) == (state, 1.0)


def test_a_stage_reports_a_chunk_before_the_one_before_it(clock: Clock) -> None:
    ledger = Ledger(["decode", "ocr"])
    first, second = Worker(ledger, "decode", "x", clock), Worker(ledger, "ocr", "y", clock)
    first.chunk("a/0")
    second.chunk("a/0")
    second.send(1)
    first.chunk("a/1")
    first.send()
    assert ledger.snapshot().states["ocr"] == StageState(
        1,
        1,
        seconds_since_progress=4.0,
        oldest_chunk_seconds=4.0,
        oldest_chunk="shard-chunk a/0, samples 0 to 3",
    )
    second.send()
    assert (ledger.snapshot().states["ocr"].at_work, ledger.snapshot().states["ocr"].queued) == (0, 1)


def test_a_restarted_worker_has_died(clock: Clock) -> None:
    """And what it worked on is no longer in progress, unless another attempt begins."""
    ledger = Ledger(["ocr"])
    for name in ("x", "y"):
        ledger.add_worker("ocr", name)
    worker = Worker(ledger, "ocr", "x", clock)
    worker.chunk("a/0")
    worker.send(1)  # and dies
    ledger.add_worker("ocr", "x", is_restarted=True)
    found = ledger.snapshot()
    assert (found.states["ocr"].at_work, found.stages["ocr"].deaths, found.stages["ocr"].workers) == (0, 1, 2)
    attempts = ledger.begin("ocr", "a/0", 4, 400, "x")
    assert (attempts.is_isolating, attempts.deaths) == (True, {(0, 4): 1})
    ledger.add_worker("ocr", "x", is_restarted=True)
    attempts = ledger.begin("ocr", "a/0", 4, 400, "y")
    assert attempts.deaths == {(0, 4): 2}
    assert ledger.snapshot().stages["ocr"].deaths == 2


def test_all_chunks_of_a_worker_die_with_it() -> None:
    """A worker of captions has two at work. Its death counts once, and each of them is begun alone from then on."""
    ledger = Ledger(["captions.dense"])
    for worker in ("x", "y"):
        ledger.add_worker("captions.dense", worker)
    for chunk, worker in (("a/0", "x"), ("a/1", "x"), ("a/2", "y")):
        ledger.begin("captions.dense", chunk, 4, 400, worker)
    assert not ledger.has_deaths("captions.dense", "a/0")
    ledger.add_worker("captions.dense", "x", is_restarted=True)
    found = ledger.snapshot()
    counts = found.stages["captions.dense"]
    assert (found.states["captions.dense"].at_work, counts.deaths, counts.workers) == (1, 1, 2)
    chunks = ("a/0", "a/1", "a/2", "a/3")
    assert [ledger.has_deaths("captions.dense", chunk) for chunk in chunks] == [True, True, False, False]
    assert ledger.begin("captions.dense", "a/1", 4, 400, "x").deaths == {(0, 4): 1}


def test_requests_that_are_retried(clock: Clock) -> None:
    """The last report of each worker counts, until it has died."""
    ledger = Ledger(["captions.dense"])

    def report(worker: str, **requests: int) -> dict[str, int]:
        ledger.record("captions.dense", worker, clock.now, [Retrying(clock.now, requests)])
        return dict(ledger.snapshot().states["captions.dense"].retrying)

    assert report("x", refused=2) == {"refused": 2}
    assert report("y", refused=1, busy=4) == {"refused": 3, "busy": 4}
    assert report("x") == {"refused": 1, "busy": 4}
    ledger.add_worker("captions.dense", "y", is_restarted=True)
    assert not ledger.snapshot().states["captions.dense"].retrying


def test_a_worker_whose_first_events_are_lost(clock: Clock) -> None:
    """The ledger learns of its death alone, and of the chunk by the next attempt."""
    ledger = Ledger(["ocr"])
    ledger.add_worker("ocr", "x")
    Worker(ledger, "ocr", "x", clock).chunk("a/0")
    ledger.add_worker("ocr", "x", is_restarted=True)
    attempts = ledger.begin("ocr", "a/0", 4, 400, "x")
    assert not attempts.is_isolating
    assert ledger.snapshot().stages["ocr"].deaths == 1


def test_a_recycled_worker_has_not_died() -> None:
    ledger = Ledger(["ocr"])
    ledger.add_worker("ocr", "x")
    ledger.recycle_worker("ocr", "x")
    ledger.add_worker("ocr", "x", is_restarted=True)
    assert ledger.snapshot().stages["ocr"] == StageCounts(1, recycled=1)
    ledger.add_worker("ocr", "x", is_restarted=True)
    assert ledger.snapshot().stages["ocr"] == StageCounts(1, deaths=1, recycled=1)


def test_slices_of_a_chunk(clock: Clock) -> None:
    """Each is in progress by itself, and they count as one chunk."""
    ledger = Ledger(["ocr"])
    for start in (0, 4):
        ledger.record("ocr", "x", clock.now, [Begin(clock.now, f"a/1+{start}" if start else "a/1", 4, 100, start)])
    assert ledger.snapshot().states["ocr"].at_work == 2
    ledger.record("ocr", "x", clock.now, [Finish(clock.now, "a/1", ends_chunk=False)])
    assert ledger.snapshot().states["ocr"].oldest_chunk == "shard-chunk a/1, samples 4 to 7"
    ledger.record("ocr", "x", clock.now, [Finish(clock.now, "a/1+4")])
    assert (ledger.snapshot().stages["ocr"].chunks, ledger.snapshot().states["ocr"].bytes_done) == (1, 200)


def test_a_line_of_several_workers_is_kept_once() -> None:
    ledger = Ledger(["ocr"])
    for line in ("a worker computes 4", "a worker computes 2", "a worker computes 4"):
        ledger.add_notice(line)
    assert ledger.snapshot().notices == ["a worker computes 4", "a worker computes 2"]
