"""Turns packs into steps: worker processes make each rank's micro-batches ahead of time, in one global order.

Each step takes the next `sequences` packs, and its micro-batches go to the ranks in turn. So a step has the same packs
for any number of ranks and workers, and a resume needs nothing but the step's cursor.
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
from training.batch import Batch, stack
from training.data.assemble import Assembler, Fault
from training.data.plan import Cursor, PackPlan, PackUnit


@dataclass(frozen=True, slots=True)
class StepData:
    """Holds what one rank needs of a step."""

    batches: list[Batch]  # its micro-batches
    cursor: Cursor  # the place after the step
    faults: list[Fault]  # bad samples of this rank
    left_out: dict[str, int]  # samples that the step's windows left out, by `source.reason`; the same on all ranks
    split: dict[str, int]  # pieces of samples that were too long, by source; the same on all ranks


_START = Cursor()


class PackLoader:
    """Loads the steps of one rank."""

    def __init__(
        self,
        plan: PackPlan,
        *,
        sequences: int,
        micro: int = 1,
        rank: int = 0,
        ranks: int = 1,
        workers: int = 0,
        prefetch: int = 1,
    ) -> None:
        """Takes the batch sizes, this rank's number of `ranks`, and its worker processes.

        `sequences` is the global batch size, a multiple of `micro` (the micro batch size) times `ranks`. Each worker
        prepares `prefetch` micro-batches ahead; with 0 workers this process reads.
        """
        self.plan, self.rank, self.ranks, self.sequences, self.micro = plan, rank, ranks, sequences, micro
        self.workers, self.prefetch = workers, prefetch
        self._iterator: Iterator[_Answer] | None = None

    def steps(self, cursor: Cursor = _START) -> Iterator[StepData]:
        """Yields the steps from the cursor on. Raises `ShardloomError` when a shard can't be read."""
        order = _Order(self, cursor)
        loader: DataLoader[_Answer] = DataLoader(
            _Packs(self.plan),
            sampler=order,
            batch_size=None,
            collate_fn=_as_it_is,
            num_workers=self.workers,
            prefetch_factor=self.prefetch if self.workers else None,
            multiprocessing_context="fork" if self.workers else None,  # a fork shares the plan, and starts at once
            generator=torch.Generator(),  # else its seed would be drawn from the trainer's generator
        )
        with _unheard_signals():
            self._iterator = iter(loader)
        for worker in getattr(self._iterator, "_workers", ()):
            worker.terminate = worker.kill  # torch terminates a stalled worker, but SIGTERM is blocked there
        share = self.sequences // (self.micro * self.ranks)
        while answers := list(islice(self._iterator, share)):
            for answer in answers:
                if answer.error is not None:
                    raise ShardloomError(answer.error)
            step = order.begun.popleft()
            batches = [answer.batch for answer in answers if answer.batch is not None]
            faults = [fault for answer in answers for fault in answer.faults]
            yield StepData(batches, step.cursor, faults, dict(step.left_out), dict(step.split))

    def close(self) -> None:
        """Ends the workers."""
        iterator, self._iterator = self._iterator, None
        shut_down = getattr(iterator, "_shutdown_workers", None)  # torch's public way waits for the garbage collector
        if shut_down is not None:
            shut_down()


@dataclass
class _Step:
    """Holds what is known of a step before its packs are read."""

    cursor: Cursor
    left_out: Counter[str] = field(default_factory=Counter)
    split: Counter[str] = field(default_factory=Counter)


class _Order:
    """Yields this rank's micro-batches, each a list of packs; `begun` queues the steps whose packs it has yielded."""

    def __init__(self, loader: PackLoader, cursor: Cursor) -> None:
        self.loader, self.cursor = loader, cursor
        self.begun: deque[_Step] = deque()

    def __iter__(self) -> Iterator[list[PackUnit]]:
        loader, packs = self.loader, self.loader.plan.packs(self.cursor)
        while step := list(islice(packs, loader.sequences)):
            told = _Step(step[-1].cursor)
            for unit in step:
                told.left_out.update(unit.left_out)
                told.split.update(unit.split)
            self.begun.append(told)
            step += [_nothing(told.cursor)] * (loader.sequences - len(step))  # pads the last step to full size
            for first in range(loader.rank * loader.micro, loader.sequences, loader.ranks * loader.micro):
                yield step[first : first + loader.micro]


@dataclass(frozen=True, slots=True)
class _Answer:
    """Holds what a worker returns for a micro-batch."""

    batch: Batch | None
    faults: list[Fault]
    error: str | None = None  # why there is no batch; a raised exception would lose its one line between processes


class _Packs(Dataset[_Answer]):
    """Reads a micro-batch from the list of its packs."""

    def __init__(self, plan: PackPlan) -> None:
        self.plan = plan
        self._assembler: Assembler | None = None

    def __getitem__(self, units: list[PackUnit]) -> _Answer:
        if self._assembler is None:  # made in the process that reads
            self._assembler = Assembler(self.plan)
        try:
            found = [self._assembler.sequence(unit) for unit in units]
        except ShardloomError as error:
            return _Answer(None, [], str(error))
        batches = [batch for batch, _ in found]
        whole = batches[0] if len(batches) == 1 else stack(batches)
        return _Answer(whole, [fault for _, faults in found for fault in faults])


@contextlib.contextmanager
def _unheard_signals() -> Iterator[None]:
    """Blocks SIGTERM and SIGINT in the processes that start inside; this process receives them afterwards.

    Both signals often go to a whole process group, but only the trainer may decide when to end: without its workers it
    can't finish a step. They are blocked, not handled, because torch installs its handlers before a worker could.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _as_it_is(answer: Any) -> Any:
    return answer


def _nothing(cursor: Cursor) -> PackUnit:
    none = np.zeros(0, np.int64)
    return PackUnit(cursor, none, none, none.reshape(0, 4), none, none)
