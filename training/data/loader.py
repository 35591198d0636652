"""Turns packs into steps: worker processes make each rank's micro-batches ahead of time, in one global order.

Each step takes the next `global_batch_size` packs, and its micro-batches go to the ranks in turn. So a step has the
same packs for any number of ranks and workers, and a resume needs nothing but the step's cursor.
"""

import contextlib
import signal
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from schemas.errors import ShardloomError
from training.batch import Batch, concatenate_batches
from training.data.assemble import Assembler, BadSample
from training.data.plan import Cursor, Pack, PackPlan


@dataclass(frozen=True, slots=True)
class StepData:
    """Holds what one rank needs of a step."""

    batches: list[Batch]  # its micro-batches
    cursor: Cursor  # the place after the step
    bad_samples: list[BadSample]  # bad samples of this rank
    left_out: dict[str, int]  # samples that the step's windows left out, by `source.reason`; the same on all ranks
    split: dict[str, int]  # pieces of samples that were too long, by source; the same on all ranks


_START = Cursor()


class PackLoader:
    """Loads the steps of one rank."""

    def __init__(
        self,
        plan: PackPlan,
        *,
        global_batch_size: int,
        micro_batch_size: int = 1,
        rank: int = 0,
        world_size: int = 1,
        workers: int = 0,
        prefetch: int = 1,
    ) -> None:
        """Takes the batch sizes, this rank's number of `world_size`, and its worker processes.

        `global_batch_size` is the global batch size, a multiple of `micro_batch_size` (the micro batch size) times
        `world_size`. Each worker prepares `prefetch` micro-batches ahead; with 0 workers this process reads.
        """
        self.plan, self.rank, self.world_size, self.global_batch_size, self.micro_batch_size = (
            plan,
            rank,
            world_size,
            global_batch_size,
            micro_batch_size,
        )
        self.workers, self.prefetch = workers, prefetch
        self._iterator: Iterator[_WorkerResult] | None = None

    def iterate_steps(self, cursor: Cursor = _START) -> Iterator[StepData]:
        """Yields the steps from the cursor on. Raises `ShardloomError` when a shard can't be read."""
        order = _MicroBatchSampler(self, cursor)
        loader: DataLoader[_WorkerResult] = DataLoader(
            _MicroBatchDataset(self.plan),
            sampler=order,
            batch_size=None,
            collate_fn=_pass_through,
            num_workers=self.workers,
            prefetch_factor=self.prefetch if self.workers else None,
            multiprocessing_context="fork" if self.workers else None,  # a fork shares the plan, and starts at once
            generator=torch.Generator(),  # else its seed would be drawn from the trainer's generator
        )
        with _block_signals():
            self._iterator = iter(loader)
        for worker in getattr(self._iterator, "_workers", ()):
            worker.terminate = worker.kill  # torch terminates a stalled worker, but SIGTERM is blocked there
        share = self.global_batch_size // (self.micro_batch_size * self.world_size)
        while answers := list(islice(self._iterator, share)):
            for answer in answers:
                if answer.error is not None:
                    raise ShardloomError(answer.error)
            step = order.pending_steps.popleft()
            batches = [answer.batch for answer in answers if answer.batch is not None]
            bad_samples = [fault for answer in answers for fault in answer.bad_samples]
            yield StepData(batches, step.cursor, bad_samples, dict(step.left_out), dict(step.split))

    def close(self) -> None:
        """Ends the workers."""
        iterator, self._iterator = self._iterator, None
        shut_down = getattr(iterator, "_shutdown_workers", None)  # torch's public way waits for the garbage collector
        if shut_down is not None:
            shut_down()


@dataclass
class _PlannedStep:
    """Holds what is known of a step before its packs are read."""

    cursor: Cursor
    left_out: Counter[str] = field(default_factory=Counter)
    split: Counter[str] = field(default_factory=Counter)


class _MicroBatchSampler:
    """Yields this rank's micro-batches, each a list of packs; `pending_steps` queues the steps whose packs it has
    yielded.
    """

    def __init__(self, loader: PackLoader, cursor: Cursor) -> None:
        self.loader, self.cursor = loader, cursor
        self.pending_steps: deque[_PlannedStep] = deque()

    def __iter__(self) -> Iterator[list[Pack]]:
        loader, packs = self.loader, self.loader.plan.iterate_packs(self.cursor)
        while step := list(islice(packs, loader.global_batch_size)):
            planned = _PlannedStep(step[-1].cursor)
            for pack in step:
                planned.left_out.update(pack.left_out)
                planned.split.update(pack.split)
            self.pending_steps.append(planned)
            step += [_make_empty_pack(planned.cursor)] * (
                loader.global_batch_size - len(step)
            )  # pads the last step to full size
            for first in range(
                loader.rank * loader.micro_batch_size,
                loader.global_batch_size,
                loader.world_size * loader.micro_batch_size,
            ):
                yield step[first : first + loader.micro_batch_size]


@dataclass(frozen=True, slots=True)
class _WorkerResult:
    """Holds what a worker returns for a micro-batch."""

    batch: Batch | None
    bad_samples: list[BadSample]
    error: str | None = None  # why there is no batch; a raised exception would lose its one line between processes


class _MicroBatchDataset(Dataset[_WorkerResult]):
    """Reads a micro-batch from the list of its packs."""

    def __init__(self, plan: PackPlan) -> None:
        self.plan = plan
        self._assembler: Assembler | None = None

    def __getitem__(self, packs: list[Pack]) -> _WorkerResult:
        if self._assembler is None:  # made in the process that reads
            self._assembler = Assembler(self.plan)
        try:
            found = [self._assembler.assemble(pack) for pack in packs]
        except ShardloomError as error:
            return _WorkerResult(None, [], str(error))
        batches = [batch for batch, _ in found]
        whole = batches[0] if len(batches) == 1 else concatenate_batches(batches)
        return _WorkerResult(whole, [fault for _, faults in found for fault in faults])


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


def _make_empty_pack(cursor: Cursor) -> Pack:
    none = np.zeros(0, np.int64)
    return Pack(cursor, none, none, none.reshape(0, 4), none, none)
