"""Reads micro-batches ahead of the trainer, in worker processes or in its own.

A thread receives them, so that the trainer waits a little at a time, and can meanwhile name a reader that makes no
progress, or end: a batch on its way from a process that is stopped blocks whoever receives it.
"""

import contextlib
import os
import queue
import signal
import threading
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from schemas.errors import ShardloomError
from training.batch import Batch, concatenate_batches
from training.data.assemble import Assembler, BadSample
from training.data.plan import Pack, PackPlan
from training.data.stall import ReaderSlots, ReadReporter
from training.data.transfer import SHARED_MEMORY, SharedBatch, share_batch

POLL_SECONDS = 1.0  # seconds that the trainer waits before it looks whether to stop or to warn


class MicroBatch(NamedTuple):
    """Names the packs of a micro-batch to read."""

    number: int  # among those of this rank since the loader started, from 0
    packs: list[Pack]


@dataclass(frozen=True, slots=True)
class ReadResult:
    """Holds what a reader returns for a micro-batch."""

    batch: Batch | SharedBatch | None  # shared only until it arrives
    bad_samples: list[BadSample]
    error: str | None = None  # why there is no batch; a raised exception would lose its one line between processes


class MicroBatchReader:
    """Reads micro-batches in order, each when it is asked for; worker processes prepare `prefetch` each ahead."""

    def __init__(
        self, dataset: "MicroBatchDataset", order: Iterable[MicroBatch], workers: int = 0, prefetch: int = 1
    ) -> None:
        """Starts the workers. Raises `ShardloomError` when it can't. With 0 workers this process reads."""
        iterator = _start_workers(dataset, order, workers, prefetch) if workers else map(dataset.read, order)
        self._processes: list[int] = [worker.pid for worker in getattr(iterator, "_workers", [])]
        self._channel, self._is_asked = _Channel(), False
        # The thread is a daemon, because a read from a server that has gone can't be ended; and it does not know this
        # object, so that the workers end with it.
        threading.Thread(target=_receive, args=(iterator, self._channel), name="reader", daemon=True).start()
        self.close = weakref.finalize(self, _close, iterator, self._channel)

    def read_next(self, seconds: float) -> ReadResult | None:
        """Returns the next micro-batch, or None at the end. Raises `queue.Empty` if it takes longer than `seconds`."""
        if not self._is_asked:
            self._channel.requests.put(True)
            self._is_asked = True
        answer = self._channel.answers.get(timeout=seconds)
        self._is_asked = False
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def find_process(self, micro_batch: int) -> tuple[int, int]:
        """Returns the number of the reader that has this micro-batch to read, and its process id."""
        if not self._processes:
            return 0, os.getpid()
        number = micro_batch % len(self._processes)  # torch gives them to the workers in turn
        return number, self._processes[number]


@dataclass(frozen=True, slots=True)
class _Channel:
    """Connects the trainer and the thread that receives micro-batches."""

    requests: queue.SimpleQueue[bool] = field(default_factory=queue.SimpleQueue)  # false: there are no more
    answers: queue.SimpleQueue[ReadResult | BaseException | None] = field(default_factory=queue.SimpleQueue)
    closed: threading.Event = field(default_factory=threading.Event)


def _receive(iterator: Iterator[ReadResult], channel: _Channel) -> None:
    while channel.requests.get():
        answer: ReadResult | BaseException | None = None
        try:
            while not channel.closed.is_set():
                try:
                    answer = next(iterator, None)
                    break
                except RuntimeError as error:
                    if not str(error).startswith("DataLoader timed out"):  # after which it can be asked again
                        raise
        except BaseException as error:  # noqa: BLE001  raised in the trainer
            answer = error
        channel.answers.put(answer)


def _close(iterator: Iterator[ReadResult], channel: _Channel) -> None:
    """Ends the workers, and the thread after its last read."""
    channel.closed.set()
    channel.requests.put(False)
    shut_down = getattr(iterator, "_shutdown_workers", None)  # torch's own way waits for the garbage collector
    if shut_down is not None:
        with contextlib.suppress(RuntimeError):  # torch's, for a dead worker; the others end anyway
            shut_down()


def _start_workers(
    dataset: "MicroBatchDataset", order: Iterable[MicroBatch], workers: int, prefetch: int
) -> Iterator[ReadResult]:
    loader: DataLoader[ReadResult] = DataLoader(
        dataset,
        sampler=order,
        batch_size=None,
        collate_fn=_pass_through,
        num_workers=workers,
        prefetch_factor=prefetch,
        timeout=POLL_SECONDS,
        multiprocessing_context="fork",  # a fork shares the plan, and starts at once
        generator=torch.Generator(),  # else its seed would be drawn from the trainer's generator
    )
    try:
        with _block_signals(), _keep_child_handler():
            iterator = iter(loader)
    except OSError as error:
        raise ShardloomError(
            f"data: cannot start {workers} loader workers: {error.strerror}; they need some pages of {SHARED_MEMORY}, "
            "and open files (ulimit -n): give them more, or set data.workers=0"
        ) from None
    for worker in getattr(iterator, "_workers", []):
        worker.terminate = worker.kill  # torch terminates a stalled worker, but SIGTERM is blocked there
    return iterator


class MicroBatchDataset(Dataset[ReadResult]):
    """Reads a micro-batch from the list of its packs."""

    def __init__(self, plan: PackPlan, slots: ReaderSlots) -> None:
        self.plan, self._slots = plan, slots
        self._assembler: Assembler | None = None

    def __getitem__(self, wanted: MicroBatch) -> ReadResult:
        return self.read(wanted)

    def read(self, wanted: MicroBatch) -> ReadResult:
        """Reads a micro-batch; `error` says why it could not."""
        worker = get_worker_info()
        if self._assembler is None:  # made in the process that reads
            self._reporter = ReadReporter(self._slots, 0 if worker is None else worker.id)
            self._assembler = Assembler(self.plan, self._reporter.report_read)
        self._reporter.begin(wanted.number)
        try:
            found = [self._assembler.assemble(pack) for pack in wanted.packs]
            batches = [batch for batch, _ in found]
            whole = batches[0] if len(batches) == 1 else concatenate_batches(batches)
            sent = whole if worker is None else share_batch(whole)
        except ShardloomError as error:
            return ReadResult(None, [], str(error))
        return ReadResult(sent, [fault for _, faults in found for fault in faults])


@contextlib.contextmanager
def _block_signals() -> Iterator[None]:
    """Blocks SIGTERM and SIGINT in the processes that start inside; this process receives them afterwards.

    Both signals often go to a whole process group, but only the trainer may decide when to end: without its workers it
    can't finish a step. They are blocked, not handled, because torch installs its handlers before a worker could.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _keep_child_handler() -> Iterator[None]:
    """Undoes torch's handling of SIGCHLD: for a dead worker it raises at whatever line runs, and where C++ has called
    that line, the process aborts. Without it the next read finds the dead worker.
    """
    before = signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():  # torch sets none in another
            signal.signal(signal.SIGCHLD, before)


def _pass_through(answer: Any) -> Any:
    return answer
