"""A worker has several chunks at work, or one alone where a worker has died on it."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from pipelines.annotate.processes.admission import ChunkAdmission
from tests.support.clock import Clock


class Work:
    """Chunks that threads work on until they are ended."""

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self.admission, self.threads = ChunkAdmission(), threads
        self.ends: dict[str, threading.Event] = {}
        self.begun: dict[str, threading.Event] = {}
        self.order: list[str] = []

    def start(self, name: str, is_alone: bool = False) -> Future[None]:
        self.ends[name], self.begun[name] = threading.Event(), threading.Event()
        return self.threads.submit(self._work, name, is_alone)

    def _work(self, name: str, is_alone: bool) -> None:
        with self.admission.admit(is_alone):
            self.order.append(name)
            self.begun[name].set()
            assert self.ends[name].wait(60)
            self.order.append(f"/{name}")


def test_chunks_together_and_alone() -> None:
    with ThreadPoolExecutor(4) as threads:
        work = Work(threads)
        started = [work.start("a"), work.start("b")]
        for name in ("a", "b"):
            assert work.begun[name].wait(60)
        started.append(work.start("alone", is_alone=True))
        while not work.admission._alone:
            pass
        started.append(work.start("c"))  # which would keep the other from ever being alone
        for name in ("a", "b"):
            work.ends[name].set()
            started.pop(0).result(60)
        assert work.begun["alone"].wait(60)
        assert not work.begun["c"].is_set()
        work.ends["alone"].set()
        assert work.begun["c"].wait(60)
        work.ends["c"].set()
    assert work.order[2:] == ["/a", "/b", "alone", "/alone", "c", "/c"]


def test_time_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("pipelines.annotate.processes.admission.time", clock)
    admission = ChunkAdmission()
    clock.now += 7
    with admission.admit(is_alone=False):
        clock.now += 1
        with admission.admit(is_alone=False):
            clock.now += 2
            assert admission.take_busy_seconds() == 3
            clock.now += 4
        clock.now += 8
    clock.now += 16
    assert [admission.take_busy_seconds(), admission.take_busy_seconds()] == [12, 0]
