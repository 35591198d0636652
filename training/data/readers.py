"""Reads micro-batches ahead of the trainer, in worker processes or in a thread of the trainer's process.

The trainer waits for them a little at a time: meanwhile it can look after a reader that makes no progress, and end.
"""

import contextlib
import queue
import signal
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from schemas.errors import ShardloomError
from training.batch import Batch, concatenate_batches
from training.data.assemble import Assembler, BadSample
from training.data.plan import Pack, PackPlan
from training.data.stall import ReaderSlots, ReadReporter
from training.data.transfer import SHARED_MEMORY, SharedBatch, share_batch


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


class Readers(Protocol):
    """Reads micro-batches in order."""

    def read_next(self) -> ReadResult | None:
        """Returns the next micro-batch, or None at the end. Raises `queue.Empty` when it is not there soon."""

    def find_process(self, micro_batch: int) -> tuple[int, int | None]:
        """Returns the number of the reader that has this micro-batch to read, and its process id."""

    def close(self) -> None:
        """Ends the readers."""


class WorkerReaders:
    """Reads in worker processes, each of which prepares `prefetch` micro-batches ahead."""

    def __init__(
        self,
        dataset: "MicroBatchDataset",
        order: Iterable[MicroBatch],
        workers: int,
        prefetch: int,
        poll_seconds: float,
    ) -> None:
        """Starts the workers. Raises `ShardloomError` when it can't."""
        loader: DataLoader[ReadResult] = DataLoader(
            dataset,
            sampler=order,
            batch_size=None,
            collate_fn=_pass_through,
            num_workers=workers,
            prefetch_factor=prefetch,
            timeout=poll_seconds,
            multiprocessing_context="fork",  # a fork shares the plan, and starts at once
            generator=torch.Generator(),  # else its seed would be drawn from the trainer's generator
        )
        try:
            with _block_signals():
                self._iterator: Iterator[ReadResult] = iter(loader)
        except OSError as error:
            raise ShardloomError(
                f"data: cannot start {workers} loader workers: {error.strerror}; they need some pages of "
                f"{SHARED_MEMORY}, and open files (ulimit -n): give them more, or set data.workers=0"
            ) from None
        self._workers: list[Any] = getattr(self._iterator, "_workers", [])
        for worker in self._workers:
            worker.terminate = worker.kill  # torch terminates a stalled worker, but SIGTERM is blocked there

    def read_next(self) -> ReadResult | None:
        """Returns the next micro-batch, or None at the end. Raises `queue.Empty` when it is not there soon."""
        try:
            return next(self._iterator, None)
        except RuntimeError as error:
            if str(error).startswith("DataLoader timed out"):  # the next call continues to wait
                raise queue.Empty from None
            raise

    def find_process(self, micro_batch: int) -> tuple[int, int | None]:
        """Returns the worker's number and process id: torch gives them the micro-batches in turn."""
        number = micro_batch % len(self._workers)
        return number, self._workers[number].pid

    def close(self) -> None:
        """Ends the workers."""
        shut_down = getattr(self._iterator, "_shutdown_workers", None)  # the public way waits for garbage collection
        if shut_down is not None:
            shut_down()


class ThreadReader:
    """Reads in a thread, each micro-batch when it is asked for."""

    def __init__(self, dataset: "MicroBatchDataset", order: Iterable[MicroBatch], poll_seconds: float) -> None:
        self._order, self._poll_seconds = iter(order), poll_seconds
        self._requests: queue.Queue[MicroBatch | None] = queue.Queue()
        self._answers: queue.Queue[ReadResult | BaseException] = queue.Queue()
        self._is_reading = False
        # a daemon, because a read from a stalled server can't be ended
        threading.Thread(target=self._read, args=(dataset,), name="reader", daemon=True).start()

    def read_next(self) -> ReadResult | None:
        """Returns the next micro-batch, or None at the end. Raises `queue.Empty` when it is not there soon."""
        if not self._is_reading:
            wanted = next(self._order, None)
            if wanted is None:
                return None
            self._requests.put(wanted)
            self._is_reading = True
        answer = self._answers.get(timeout=self._poll_seconds)
        self._is_reading = False
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def find_process(self, micro_batch: int) -> tuple[int, int | None]:
        """Returns 0 and None: there is one reader, in this process."""
        return 0, None

    def close(self) -> None:
        """Ends the thread after its last read."""
        self._requests.put(None)

    def _read(self, dataset: "MicroBatchDataset") -> None:
        while (wanted := self._requests.get()) is not None:
            try:
                self._answers.put(dataset[wanted])
            except BaseException as error:  # noqa: BLE001  raised in the trainer
                self._answers.put(error)


class MicroBatchDataset(Dataset[ReadResult]):
    """Reads a micro-batch from the list of its packs."""

    def __init__(self, plan: PackPlan, slots: ReaderSlots) -> None:
        self.plan, self._slots = plan, slots
        self._assembler: Assembler | None = None

    def __getitem__(self, wanted: MicroBatch) -> ReadResult:
        worker = get_worker_info()
        if self._assembler is None:  # made in the process that reads
            self._reporter = ReadReporter(self._slots, 0 if worker is None else worker.id)
            self._assembler = Assembler(self.plan, self._reporter.report_read)
        self._reporter.begin(wanted.number)
        try:
            found = [self._assembler.assemble(unit) for unit in wanted.packs]
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


def _pass_through(answer: Any) -> Any:
    return answer
