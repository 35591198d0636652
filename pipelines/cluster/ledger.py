"""Defines the ledger, an actor to which a run's workers report counts and the ranges that they work on.

A run has one small actor. Workers call it when they start a chunk, when they finish it and every few seconds in
between, so that a thousand workers stay far below the call rate that one actor can answer.
"""

import itertools
import time
from dataclasses import dataclass, field

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipelines.cluster.attempts import Attempts, Range

MAX_HANGS = 12  # of an engine in succession, without an image done: halving finds a sample of 256 in nine


@dataclass(slots=True)
class StageCounts:
    """Counts what one stage has done so far in this run. All counts add up over runs."""

    workers: int = 0  # live ones; a dead worker is subtracted when its chunk starts again
    images: int = 0
    chunks: int = 0
    deaths: int = 0  # attempts whose worker died; another worker restarted each
    recycled: int = 0  # workers that ended themselves and were replaced
    busy_seconds: float = 0.0  # summed over workers
    offered_seconds: float = 0.0  # time in which workers could have been busy, without start-up, summed over workers
    working_seconds: float = 0.0  # from the start of the first chunk to the end of the last


@dataclass(slots=True)
class StageState:
    """Describes the present state of a stage."""

    at_work: int = 0  # chunks in progress
    queued: int = 0  # chunks done by the previous stage and not yet started; unknown, so 0, for the first one
    still_seconds: float = 0.0  # since its last progress; 0 while it has no work
    longest_seconds: float = 0.0  # since the oldest chunk in progress was started
    longest: str = ""  # that chunk and the range of its samples in progress


@dataclass(slots=True)
class Snapshot:
    """Describes the state of a run for its driver."""

    stages: dict[str, StageCounts] = field(default_factory=dict)
    states: dict[str, StageState] = field(default_factory=dict)
    idle_seconds: float = 0.0  # since the last heartbeat of any worker


class Ledger:
    """Implements the actor. `stages` are in the graph's order: a chunk that one has done is queued for the next."""

    def __init__(self, stages: list[str]) -> None:
        now = time.monotonic()
        self._stages = {stage: StageCounts() for stage in stages}
        self._next = dict(itertools.pairwise(stages))
        self._queues: dict[str, set[str]] = {stage: set() for stage in stages}  # sets: a chunk may be done twice
        self._attempts: dict[str, dict[str, Attempts]] = {stage: {} for stage in stages}
        self._since: dict[tuple[str, str], float] = {}  # when a chunk in progress was started
        self._hangs = dict.fromkeys(stages, 0)  # since an image was last done
        self._heard = now
        self._moved = dict.fromkeys(stages, now)
        self._began: dict[str, float] = {}
        self._offered: dict[str, float] = {}  # up to when `offered_seconds` counts

    def start(self, stage: str) -> None:
        """Records that a worker of the stage is ready."""
        self._move(stage)
        self._offer(stage, more=1)

    def recycle(self, stage: str) -> None:
        """Records that a worker of the stage ends itself between two chunks. Ray starts another in its place."""
        self._move(stage)
        self._offer(stage, more=-1)
        self._stages[stage].recycled += 1

    def alive(self) -> None:
        """Takes the heartbeat of a worker that loads its engine or decodes a slow image."""
        self._heard = time.monotonic()

    def begin(self, stage: str, chunk: str, rows: int) -> Attempts:
        """Records that a worker starts a chunk of `rows` samples. Returns what earlier attempts at it have shown."""
        now = self._move(stage)
        self._began.setdefault(stage, now)
        self._offered.setdefault(stage, now)
        self._since[stage, chunk] = now
        self._queues[stage].discard(chunk)
        attempts = self._attempts[stage].get(chunk)
        if attempts is not None:
            attempts.died()
            self._stages[stage].deaths += 1
            self._offer(stage, more=-1)  # the replacement has called `start` already
        else:
            attempts = self._attempts[stage][chunk] = Attempts((0, rows))
            self._offer(stage, more=self._unknown(stage))
        attempts.at_work = (0, rows)
        return attempts

    def enter(self, stage: str, chunk: str, at_work: Range) -> None:
        """Records that an isolating worker is about to start on this range alone."""
        self._move(stage)
        if chunk in self._attempts[stage]:  # a restarted ledger does not know the chunk
            self._attempts[stage][chunk].at_work = at_work

    def hang(self, stage: str, chunk: str, at_work: Range, is_decoding: bool) -> bool:
        """Records that a worker hangs on these samples. Returns whether it must end, so that the sample is found.

        It must not where the engine has done no image at all, or none between `MAX_HANGS` hangs: then no sample is at
        fault, and the run should end.
        """
        attempts = self._attempts[stage].get(chunk)
        if attempts is None or (not is_decoding and not self._stages[stage].images) or self._hangs[stage] >= MAX_HANGS:
            return False
        self._move(stage)
        self._hangs[stage] += not is_decoding
        attempts.hung(at_work, is_decoding)
        return True

    def beat(self, stage: str, images: int, busy_seconds: float) -> None:
        """Takes a heartbeat: the images done since the last one, and the seconds that they took."""
        self._move(stage)
        self._stages[stage].images += images
        self._hangs[stage] = 0 if images else self._hangs[stage]
        self._stages[stage].busy_seconds += busy_seconds

    def finish(self, stage: str, chunk: str) -> None:
        """Records that a chunk is done."""
        now = self._move(stage)
        self._offer(stage)
        self._stages[stage].chunks += 1
        self._stages[stage].working_seconds = now - self._began.get(stage, now)
        self._attempts[stage].pop(chunk, None)
        self._since.pop((stage, chunk), None)
        if (following := self._next.get(stage)) is not None:
            if not self._has_work(following):
                self._moved[following] = now  # it had no work until now
            self._queues[following].add(chunk)

    def snapshot(self) -> Snapshot:
        """Returns the counts and the state of each stage, and the time since the last heartbeat."""
        now = time.monotonic()
        return Snapshot(self._stages, {stage: self._state(stage, now) for stage in self._stages}, now - self._heard)

    def _state(self, stage: str, now: float) -> StageState:
        state = StageState(len(self._attempts[stage]), len(self._queues[stage]))
        if self._has_work(stage):
            state.still_seconds = now - self._moved[stage]
        if self._attempts[stage]:
            chunk = min(self._attempts[stage], key=lambda chunk: self._since[stage, chunk])
            start, stop = self._attempts[stage][chunk].at_work
            state.longest_seconds = now - self._since[stage, chunk]
            state.longest = f"shard-chunk {chunk}, samples {start} to {stop - 1}"
        return state

    def _has_work(self, stage: str) -> bool:
        return bool(self._attempts[stage] or self._queues[stage])

    def _move(self, stage: str) -> float:
        """Records that the stage has made progress. Returns the present time."""
        self._heard = self._moved[stage] = time.monotonic()
        return self._heard

    def _offer(self, stage: str, more: int = 0) -> None:
        """Counts the time offered by workers since there was work, then adds `more` workers."""
        counts = self._stages[stage]
        if stage in self._offered:
            counts.offered_seconds += counts.workers * (self._heard - self._offered[stage])
            self._offered[stage] = self._heard
        counts.workers = max(0, counts.workers + more)  # a worker from before a restart of the ledger may end, too

    def _unknown(self, stage: str) -> int:
        """Returns how many busy workers a restarted ledger does not know, because they started before it died."""
        return max(0, len(self._attempts[stage]) - self._stages[stage].workers)


def start_ledger(stages: list[str]) -> ray.actor.ActorHandle:
    """Starts the ledger of a run. If its process dies, Ray restarts it with empty counts.

    It runs on the driver's node, so that the loss of another node does not lose the counts. The affinity is hard,
    because Ray ignores a `soft` one.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=3, scheduling_strategy=here)(Ledger)
    return actor.remote(stages)
