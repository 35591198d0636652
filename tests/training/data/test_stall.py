"""A reader that makes no progress is named with its shard, and the trainer can end while it waits."""

import contextlib
import fcntl
import multiprocessing
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.training.support.runs import equal
from tests.training.support.sets import captioned, mixed, plan, tokenizer, write_set
from training.data.loader import PackLoader
from training.data.plan import PackPlan
from training.data.stall import ReaderSlots, ReadReporter

PERIOD = 0.2  # seconds


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> PackPlan:
    folder = tmp_path_factory.mktemp("stall")
    return plan(folder, mixed(folder, tokenizer(folder)[0]), packing_window=30)


class Stops:
    """Counts the looks of a loader that waits, and says at one of them that it should stop."""

    def __init__(self, at: int, wake: int | None = None) -> None:
        self.looks, self.at, self.wake = 0, at, wake

    def __call__(self) -> bool:
        self.looks += 1
        if self.looks == self.at and self.wake is not None:
            os.kill(self.wake, signal.SIGCONT)
        return self.looks >= self.at and self.wake is None


@contextlib.contextmanager
def loading(held: PackPlan, should_stop: Stops, **changes: Any) -> Iterator[PackLoader]:
    given = {"global_batch_size": 4, "workers": 1, "prefetch": 1, "stall_seconds": PERIOD}
    with contextlib.closing(PackLoader(held, should_stop=should_stop, **given | changes)) as loader:
        yield loader


def get_worker() -> int:
    (worker,) = multiprocessing.active_children()
    assert worker.pid
    return worker.pid


def test_a_stopped_worker_is_named_and_waited_for(small: PackPlan, capsys: pytest.CaptureFixture[str]) -> None:
    with loading(small, Stops(99), workers=0) as loader:
        whole = list(loader.iterate_steps())
    should_stop = Stops(at=8)
    with loading(small, should_stop) as loader:
        steps = loader.iterate_steps()
        found = [next(steps)]
        should_stop.wake = get_worker()
        os.kill(should_stop.wake, signal.SIGSTOP)
        found += list(steps)
    warnings = capsys.readouterr().err.splitlines()
    assert 1 <= len(warnings) <= 3, "the second after twice the time"
    name = rf"data: reader 0 \(process {should_stop.wake}\) has made no progress for \d+ s, at "
    shard = r"(?P<shard>\S+\.tar): look after its process and its disk or server; "
    ending = "training waits, and SIGTERM ends it with a checkpoint"
    for warning in warnings:
        match = re.fullmatch(name + shard + ending, warning)
        assert match, warning
        assert Path(match["shard"]).is_file()
    for one, other in zip(found, whole, strict=True):
        assert one.cursor == other.cursor
        assert all(equal(*pair) for pair in zip(one.batches, other.batches, strict=True))


def test_a_stopped_worker_does_not_keep_the_trainer(small: PackPlan) -> None:
    with loading(small, Stops(at=2)) as loader:
        steps = loader.iterate_steps()
        next(steps)
        os.kill(get_worker(), signal.SIGSTOP)
        assert next(steps, None) is None
    assert multiprocessing.active_children() == []


@contextlib.contextmanager
def unanswered(path: Path) -> Iterator[None]:
    """A lease on a file, for which whoever opens it has to wait: as if its server had gone."""
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)  # which asks for the lease
    with path.open("r+b") as holder:
        try:
            fcntl.fcntl(holder, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError as error:
            pytest.skip(f"no lease: {error}")
        yield
        fcntl.fcntl(holder, fcntl.F_SETLEASE, fcntl.F_UNLCK)  # workers have inherited the file: closing ends no lease
    signal.signal(signal.SIGIO, before)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_shard_that_does_not_answer_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], workers: int
) -> None:
    held = plan(tmp_path, {"ocr": write_set(tmp_path / "ocr", [captioned(n, f"{n}") for n in range(8)], shard=4)})
    shard = tmp_path / "ocr/data/00000001.tar"
    with loading(held, Stops(at=4), workers=workers, global_batch_size=1) as loader:
        with unanswered(shard):
            assert list(loader.iterate_steps()) == []
            process = get_worker() if workers else os.getpid()
        warning, *_ = capsys.readouterr().err.splitlines()
        where = re.escape(f"{shard}: look after its process and its disk or server; training waits, and ")
        process = r"\d+" if workers else os.getpid()
        assert re.match(rf"data: reader 0 \(process {process}\) has made no progress for \d+ s, at {where}", warning)


def test_the_oldest_of_parallel_reads_is_reported() -> None:
    slots = ReaderSlots(2)
    reporter = ReadReporter(slots, 1)
    reporter.begin(7)
    with reporter.report_read("s3://b/slow.tar"):
        with reporter.report_read("x" * 2000 + "/fast.tar"):
            assert slots.read(1) == (7, 3, "s3://b/slow.tar")
        assert slots.read(1) == (7, 4, "s3://b/slow.tar")
    with reporter.report_read("x" * 2000 + "/fast.tar"):
        shard = slots.read(1).shard
        assert shard.endswith("x/fast.tar")
        assert len(shard) < 1024
    assert slots.read(0) == (-1, 0, "")
