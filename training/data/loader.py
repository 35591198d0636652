"""Turns packs into steps: worker processes make each rank's micro-batches ahead of time, in one global order.

Each step takes the next `global_batch_size` packs, and its micro-batches go to the ranks in turn. So a step has the
same packs for any number of ranks and workers, and a resume needs nothing but the step's cursor.
"""

import queue
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from schemas.errors import ShardloomError
from training.batch import Batch
from training.data.assemble import BadSample
from training.data.plan import Cursor, Pack, PackPlan, make_empty_pack
from training.data.readers import POLL_SECONDS, MicroBatch, MicroBatchDataset, MicroBatchReader, ReadResult
from training.data.stall import ReaderSlots, StallWatch

STALL_SECONDS = 60.0


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
        stall_seconds: float = STALL_SECONDS,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Takes the batch sizes, this rank's number of `world_size`, and its worker processes.

        `global_batch_size` is the global batch size, a multiple of `micro_batch_size` (the micro batch size) times
        `world_size`. Each worker prepares `prefetch` micro-batches ahead; with 0 workers this process reads. A reader
        that makes no progress for `stall_seconds` is named. While the loader waits, it ends once `should_stop` returns
        true.
        """
        self.plan, self.rank, self.world_size, self.global_batch_size, self.micro_batch_size = (
            plan,
            rank,
            world_size,
            global_batch_size,
            micro_batch_size,
        )
        self.workers, self.prefetch = workers, prefetch
        self.stall_seconds, self.should_stop = stall_seconds, should_stop
        self._reader: MicroBatchReader | None = None

    def iterate_steps(self, cursor: Cursor = _START) -> Iterator[StepData]:
        """Yields the steps from the cursor on, until `close`. Raises `ShardloomError` when a shard can't be read."""
        stride = self.micro_batch_size * self.world_size
        places = range(self.rank * self.micro_batch_size, self.global_batch_size, stride)
        packs = self.plan.iterate_packs(cursor)
        order = _MicroBatchSampler(packs, self.global_batch_size, self.micro_batch_size, places)
        slots = ReaderSlots(max(1, self.workers))
        dataset = MicroBatchDataset(self.plan, slots)
        self._reader = MicroBatchReader(dataset, order, self.workers, self.prefetch)
        results = self._iterate_results(self._reader, order, StallWatch(slots, self.stall_seconds))
        while len(step_results := list(islice(results, len(places)))) == len(places):
            step = order.pending_steps.popleft()
            batches = [result.batch for result in step_results if isinstance(result.batch, Batch)]
            bad_samples = [fault for result in step_results for fault in result.bad_samples]
            yield StepData(batches, step.cursor, bad_samples, dict(step.left_out), dict(step.split))

    def close(self) -> None:
        """Ends the workers."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def _iterate_results(
        self, reader: MicroBatchReader, order: "_MicroBatchSampler", watch: StallWatch
    ) -> Iterator[ReadResult]:
        """Yields the micro-batches to the end, or until it has to wait and should stop."""
        while True:
            try:
                result = reader.read_next(min(POLL_SECONDS, self.stall_seconds))
            except queue.Empty:
                if self.should_stop():
                    return
                if order.pending_micro_batches:  # else its packs are still being planned
                    self._check_progress(reader, order.pending_micro_batches[0], watch)
                continue
            if result is None:
                return
            if result.error is not None:
                raise ShardloomError(result.error)
            order.pending_micro_batches.popleft()
            yield result

    def _check_progress(self, reader: MicroBatchReader, awaited: MicroBatch, watch: StallWatch) -> None:
        number, process = reader.find_process(awaited.number)
        name = f"reader {number}{f' of rank {self.rank}' if self.world_size > 1 else ''} (process {process})"
        watch.check(awaited.number, number, name, self.plan.find_first_shard(awaited.packs))


@dataclass
class _PlannedStep:
    """Holds what is known of a step before its packs are read."""

    cursor: Cursor
    left_out: Counter[str] = field(default_factory=Counter)
    split: Counter[str] = field(default_factory=Counter)


class _MicroBatchSampler:
    """Yields this rank's micro-batches, and queues those that have not arrived, and their steps."""

    def __init__(self, packs: Iterator[Pack], global_batch_size: int, micro_batch_size: int, places: range) -> None:
        """Takes the `places` at which this rank's micro-batches begin among a step's packs."""
        self._packs, self._places = packs, places
        self._global_batch_size, self._micro_batch_size = global_batch_size, micro_batch_size
        self.pending_steps: deque[_PlannedStep] = deque()
        self.pending_micro_batches: deque[MicroBatch] = deque()

    def __iter__(self) -> Iterator[MicroBatch]:
        number = 0
        while step := list(islice(self._packs, self._global_batch_size)):
            planned = _PlannedStep(step[-1].cursor)
            for pack in step:
                planned.left_out.update(pack.left_out)
                planned.split.update(pack.split)
            self.pending_steps.append(planned)
            step += [make_empty_pack(planned.cursor)] * (
                self._global_batch_size - len(step)
            )  # pads the last step to full size
            for first in self._places:
                self.pending_micro_batches.append(MicroBatch(number, step[first : first + self._micro_batch_size]))
                yield self.pending_micro_batches[-1]
                number += 1
