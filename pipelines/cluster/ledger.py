"""What a run's workers tell its driver while they work: an actor that holds counts and the ranges at work.

One small actor for a run. Workers call it once when they begin a chunk, once when they are done and every few seconds
in between, so that a thousand of them stay far below what one actor answers.
"""

import itertools
import time
from dataclasses import dataclass, field

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipelines.cluster.attempts import Attempts, Range

MAX_HANGS = 12  # of engines, one after another: halving finds a sample of 256 in nine


@dataclass(slots=True)
class StageCounts:
    """What one stage has done so far in this run. All of it adds up over runs."""

    workers: int = 0  # that are there; one that has died is missed once its chunk is begun anew
    images: int = 0
    chunks: int = 0
    deaths: int = 0  # attempts whose worker died, each of which another worker took up
    recycled: int = 0  # workers that ended by themselves, to be replaced by fresh ones
    busy_seconds: float = 0.0  # added up over workers
    offered_seconds: float = 0.0  # the same of the time in which they could have been busy: start-up apart
    working_seconds: float = 0.0  # from the first chunk's begin to the last one's end


@dataclass(slots=True)
class StageState:
    """How a stage stands at the moment."""

    at_work: int = 0  # chunks
    queued: int = 0  # chunks that the stage before has done and no worker has begun; of the first one nobody knows
    still_seconds: float = 0.0  # since its last progress; none while it has nothing to do
    longest_seconds: float = 0.0  # that a chunk has been at work
    longest: str = ""  # that chunk, and what of it is at work


@dataclass(slots=True)
class Snapshot:
    """The state of a run as its driver sees it."""

    stages: dict[str, StageCounts] = field(default_factory=dict)
    states: dict[str, StageState] = field(default_factory=dict)
    idle_seconds: float = 0.0  # since any worker was last heard of


class Ledger:
    """The actor's class. `stages` in their order: what one has done is at hand for the next."""

    def __init__(self, stages: list[str]) -> None:
        now = time.monotonic()
        self._stages = {stage: StageCounts() for stage in stages}
        self._next = dict(itertools.pairwise(stages))
        self._queues: dict[str, set[str]] = {stage: set() for stage in stages}  # sets, for a chunk may be done twice
        self._attempts: dict[str, dict[str, Attempts]] = {stage: {} for stage in stages}
        self._since: dict[tuple[str, str], float] = {}  # when a chunk at work was begun
        self._hangs = dict.fromkeys(stages, 0)  # since an image was last done
        self._heard = now
        self._moved = dict.fromkeys(stages, now)
        self._began: dict[str, float] = {}
        self._offered: dict[str, float] = {}  # up to when `offered_seconds` counts

    def start(self, stage: str) -> None:
        """A worker of the stage is ready."""
        self._move(stage)
        self._offer(stage, more=1)

    def recycle(self, stage: str) -> None:
        """A worker of the stage ends by itself, between two chunks; another one starts in its place."""
        self._move(stage)
        self._offer(stage, more=-1)
        self._stages[stage].recycled += 1

    def alive(self) -> None:
        """A worker is still loading its engine."""
        self._heard = time.monotonic()

    def begin(self, stage: str, chunk: str, rows: int) -> Attempts:
        """A worker takes up a chunk; the answer says what earlier attempts at it have taught."""
        now = self._move(stage)
        self._began.setdefault(stage, now)
        self._offered.setdefault(stage, now)
        self._since[stage, chunk] = now
        self._queues[stage].discard(chunk)
        attempts = self._attempts[stage].get(chunk)
        if attempts is not None:
            attempts.died()
            self._stages[stage].deaths += 1
            self._offer(stage, more=-1)  # another one has started in its place
        else:
            attempts = self._attempts[stage][chunk] = Attempts((0, rows))
            self._offer(stage, more=self._unknown(stage))
        attempts.at_work = (0, rows)
        return attempts

    def enter(self, stage: str, chunk: str, at_work: Range) -> None:
        """A worker that must be careful is about to work on this range alone."""
        self._move(stage)
        if chunk in self._attempts[stage]:  # a ledger that has started again knows nothing of it
            self._attempts[stage][chunk].at_work = at_work

    def hang(self, stage: str, chunk: str, at_work: Range, is_decoding: bool) -> bool:
        """A worker is at these samples without end. Says whether it is to end, so that the sample is found.

        Not where an engine has done no image at all, or none between so many hangs: then it is no sample's fault, and
        the run is to end.
        """
        attempts = self._attempts[stage].get(chunk)
        if attempts is None or (not is_decoding and not self._stages[stage].images) or self._hangs[stage] >= MAX_HANGS:
            return False
        self._move(stage)
        self._hangs[stage] += not is_decoding
        attempts.hung(at_work, is_decoding)
        return True

    def beat(self, stage: str, images: int, busy_seconds: float) -> None:
        """Images done since the last beat, and the time that they took."""
        self._move(stage)
        self._stages[stage].images += images
        self._hangs[stage] = 0 if images else self._hangs[stage]
        self._stages[stage].busy_seconds += busy_seconds

    def finish(self, stage: str, chunk: str) -> None:
        """A chunk is done."""
        now = self._move(stage)
        self._offer(stage)
        self._stages[stage].chunks += 1
        self._stages[stage].working_seconds = now - self._began.get(stage, now)
        self._attempts[stage].pop(chunk, None)
        self._since.pop((stage, chunk), None)
        if (following := self._next.get(stage)) is not None:
            if not self._has_work(following):
                self._moved[following] = now  # it could make no progress until now
            self._queues[following].add(chunk)

    def snapshot(self) -> Snapshot:
        """The counts, how each stage stands, and how long nothing has been heard."""
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
        """The stage has made progress; now."""
        self._heard = self._moved[stage] = time.monotonic()
        return self._heard

    def _offer(self, stage: str, more: int = 0) -> None:
        """Counts the time that workers have offered since there was work. From now on there are so many more."""
        counts = self._stages[stage]
        if stage in self._offered:
            counts.offered_seconds += counts.workers * (self._heard - self._offered[stage])
            self._offered[stage] = self._heard
        counts.workers = max(0, counts.workers + more)  # one that a ledger knew before it died may end, too

    def _unknown(self, stage: str) -> int:
        """Workers that are at work and have started before a ledger that died was started again."""
        return max(0, len(self._attempts[stage]) - self._stages[stage].workers)


def start_ledger(stages: list[str]) -> ray.actor.ActorHandle:
    """A ledger of its own for this run. If its process dies it starts again, with empty counts.

    On the driver's node, so that no other node takes the counts away with it when it is lost. Ray does not hear a
    `soft` wish.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=3, scheduling_strategy=here)(Ledger)
    return actor.remote(stages)
