"""A run waits while all that is left is held by others, says so, and takes over what they leave."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines.annotate.claims.claim import Ticket
from pipelines.annotate.claims.claim_folder import ClaimFolder
from pipelines.annotate.drivers import other_runs
from pipelines.annotate.drivers.other_runs import OtherRuns
from pipelines.annotate.drivers.run_view import RunView
from pipelines.inputs.shards import InputShard
from pipelines.output.totals import RunTimes
from pipelines.terminal.progress import Progress
from schemas.errors import ShardloomError
from schemas.output_set.layout import MANIFESTS, PARTS
from schemas.output_set.lock import Lock, lock_output
from schemas.storage.folder import Folder
from tests.support.clock import Clock

SHARDS = [InputShard(f"{number}", f"/images/{number}.tar", listed_size=10 * (number + 1)) for number in range(3)]


class WaitingClock(Clock):
    """Each sleep is the occasion for something to happen elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Callable[[], object]] = []

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.events:
            self.events.pop(0)()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> WaitingClock:
    made = WaitingClock()
    monkeypatch.setattr(other_runs, "time", made)
    return made


@pytest.fixture
def output(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "out"))


@pytest.fixture
def lock(output: Folder) -> Iterator[Lock]:
    with lock_output(output, "annotate --claim", is_shared=True) as held:
        yield held


@pytest.fixture
def other(output: Folder) -> Iterator[Lock]:
    """Another run, which holds all shards."""
    with lock_output(output, "annotate --claim", is_shared=True) as held:
        claims = ClaimFolder(output, SHARDS, held.holder)
        claims.begin_life("x", "1")
        for number in range(3):
            claims.take(Ticket("x", "1", number))
        yield held


def open_others(output: Folder, lock: Lock) -> tuple[OtherRuns, Progress]:
    progress = Progress("annotate", 60)
    return OtherRuns(output, SHARDS, lock, RunView(progress, RunTimes(), None, 3), stall_seconds=10), progress


def commit(output: Folder, *numbers: int) -> None:
    for number in numbers:
        output.write(f"{MANIFESTS}/{number}.json", b"{}")


def test_free_shards_are_waited_for_no_longer(output: Folder, lock: Lock, clock: WaitingClock) -> None:
    commit(output, 0)
    others, progress = open_others(output, lock)
    assert others.wait_for_shards()
    assert (clock.now, progress.done) == (1000.0, 10)


def test_what_others_hold_is_waited_for_and_named(
    output: Folder, lock: Lock, other: Lock, clock: WaitingClock, shown: list[str]
) -> None:
    others, progress = open_others(output, lock)
    clock.events = [lambda: commit(output, 1), lambda: commit(output, 0, 2)]
    assert not others.wait_for_shards()
    assert shown == [
        f"annotate: 0%, waiting for 3 shards of {other.holder}",
        f"annotate: 33%, waiting for 2 shards of {other.holder}",
    ]
    assert progress.done == 60


def test_shards_of_this_run_are_no_others(output: Folder, lock: Lock) -> None:
    others, progress = open_others(output, lock)
    commit(output, 0, 1)
    others.note_commit("1")
    assert (others.look(), progress.done) == (["2"], 10)
    assert (others.look(), progress.done) == (["2"], 10)


def test_what_a_run_leaves_is_free(output: Folder, lock: Lock, clock: WaitingClock) -> None:
    leaving = lock_output(output, "annotate --claim", is_shared=True)
    claims = ClaimFolder(output, SHARDS, leaving.__enter__().holder)
    claims.begin_life("x", "1")
    for number in range(3):
        claims.take(Ticket("x", "1", number))
    others, _ = open_others(output, lock)
    clock.events = [lambda: leaving.__exit__(None, None, None)]
    assert others.wait_for_shards()
    assert clock.now == 1005.0


def test_others_that_make_no_progress_are_not_waited_for_for_ever(
    output: Folder, lock: Lock, other: Lock, clock: WaitingClock
) -> None:
    """Parts of theirs are progress."""
    others, _ = open_others(output, lock)
    clock.events = [lambda: None] * 30 + [lambda: output.write(f"{PARTS}/0-000000.parquet", b"")]
    with pytest.raises(ShardloomError) as error:
        others.wait_for_shards()
    line = f"no progress for 205 s: waiting for 3 shards of {other.holder}; finished work is kept; the same command "
    assert str(error.value) == f"{line}resumes the run"
    assert clock.now == 1000 + 31 * 5 + 205
