"""A worker reports in lists; the process that takes its place asks at the start of each chunk."""

import os
import signal
import threading
import time

import pytest
import ray

from pipelines.annotate.graph_watch import take_last_snapshot
from pipelines.cluster.attempts import Attempts
from pipelines.cluster.connection import connect
from pipelines.cluster.ledger import Snapshot, start_ledger
from pipelines.cluster.ledger_client import LedgerClient, choose_send_seconds
from pipelines.recipes.base import RunOptions


@pytest.mark.parametrize(
    ("workers", "stall_seconds", "seconds"),
    [(1, 100, 1), (5, 100, 1), (20, 100, 4), (512, 100, 10), (512, 30, 3), (1, 5, 0.5)],
)
def test_many_workers_send_less_often(workers: int, stall_seconds: float, seconds: float) -> None:
    assert choose_send_seconds(workers, stall_seconds) == seconds


@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=0)
class Worker:
    """A worker of OCR."""

    def __init__(self, ledger: ray.actor.ActorHandle, send_seconds: float = 1.0) -> None:
        self.client = LedgerClient(ledger, "ocr", send_seconds)
        self.client.add_worker()

    def begin(self, chunk: str) -> Attempts:
        return self.client.begin(chunk, 4, 400)

    def do(self, chunk: str, ends_chunk: bool = True, is_last: bool = False) -> None:
        """Works on a chunk that it has begun, or on a slice."""
        self.client.record_progress(chunk, 4, 1.0)
        self.client.finish(chunk, ends_chunk, is_last)

    def retry(self, *counts: int) -> None:
        """Reports requests that are being retried, one report after the other."""
        for count in counts:
            self.client.record_retries({"refused": count})

    def has_deaths(self, chunk: str) -> bool:
        return self.client.has_deaths(chunk)

    def flush(self) -> None:
        self.client.flush()

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
def test_lists_and_questions() -> None:
    connect(RunOptions(workers=1), 1 << 30, 1)
    ledger = start_ledger(["ocr"])
    worker = Worker.remote(ledger)

    def snapshot() -> Snapshot:
        found: Snapshot = ray.get(ledger.snapshot.remote())
        return found

    def die_and_wait(deaths: int) -> None:
        worker.die.remote()
        end = time.monotonic() + 60
        while snapshot().stages["ocr"].deaths < deaths:
            assert time.monotonic() < end
            time.sleep(0.05)

    assert ray.get(worker.begin.remote("a/0")) == Attempts((0, 4))
    ray.get(worker.do.remote("a/0"))
    ray.get(worker.flush.remote())
    found = snapshot()
    assert (found.stages["ocr"].chunks, found.stages["ocr"].images, found.states["ocr"].bytes_done) == (1, 4, 400)
    ray.get(worker.retry.remote(5, 3))
    ray.get(worker.flush.remote())
    assert snapshot().states["ocr"].retrying == {"refused": 3}
    assert ray.get(worker.begin.remote("a/1")) == Attempts((0, 4))
    die_and_wait(1)
    assert not ray.get(worker.begin.remote("a/1")).is_isolating, "the start of the first attempt was never sent"
    die_and_wait(2)
    assert [ray.get(worker.has_deaths.remote(chunk)) for chunk in ("a/0", "a/1")] == [False, True]
    assert ray.get(worker.begin.remote("a/1")).deaths == {(0, 4): 1}
    ray.get(worker.do.remote("a/1"))
    end = time.monotonic() + 60
    while snapshot().stages["ocr"].chunks < 2:  # sent by itself, within a second
        assert time.monotonic() < end
        time.sleep(0.05)
    patient = Worker.remote(ledger, 600.0)
    for chunk in ("b/0", "b/0+4"):
        ray.get(patient.begin.remote(chunk))
    ray.get(patient.do.remote("b/0+4", True, True))
    finish = threading.Timer(0.5, lambda: patient.do.remote("b/0", False, True))
    finish.start()
    last = take_last_snapshot(ledger, 3)
    assert (last.stages["ocr"].images, last.states["ocr"].at_work) == (16, 0), "both slices, sent as they were done"
    for each in (worker, patient, ledger):
        ray.kill(each)
