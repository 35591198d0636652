"""Defines the ledger, an actor to which a run's workers report counts and the ranges that they work on.

Each driver of a run has one small actor. A worker that has never died sends it a list of events once a second
(`pipelines.cluster.ledger_client`), so that a thousand workers stay far below the call rate that one actor can answer.
"""

import itertools
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipelines.cluster.attempts import Attempts, Range
from pipelines.cluster.ledger_events import Begin, Event, Finish, Heartbeat, Progress, Retrying

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
    seconds_since_progress: float = 0.0  # since its last progress; 0 while it has no work
    oldest_chunk_seconds: float = 0.0  # since the oldest chunk in progress was started
    oldest_chunk: str = ""  # that chunk and the range of its samples in progress
    bytes_done: int = 0  # of finished chunks, and of those in progress as far as their samples are done
    retrying: Counter[str] = field(default_factory=Counter)  # requests to a server, by the reason


@dataclass(slots=True)
class ChunkInProgress:
    """Describes a chunk that a worker has started."""

    started: float
    rows: int
    size: int  # bytes
    worker: str = ""
    start: int = 0  # of a slice: its first sample in the chunk
    rows_done: int = 0

    @property
    def bytes_done(self) -> int:
        """Returns the bytes of the samples that are done, as a share of the chunk's."""
        return self.size * min(self.rows_done, self.rows) // max(self.rows, 1)


@dataclass(slots=True)
class Snapshot:
    """Describes the state of a run for its driver."""

    stages: dict[str, StageCounts] = field(default_factory=dict)
    states: dict[str, StageState] = field(default_factory=dict)
    seconds_since_heartbeat: float = 0.0  # since the last heartbeat of any worker
    notices: list[str] = field(default_factory=list)  # what workers tell the user, each line once, oldest first


class Ledger:
    """Implements the actor. `stages` are in the graph's order: a chunk that one has done is queued for the next.

    Events arrive in lists, up to a second after they happened, so that a stage may report that it has begun a chunk
    before the previous one reports that it has finished it. A `worker` is the id of an actor; it is empty where tasks
    do the work.
    """

    def __init__(self, stages: list[str]) -> None:
        now = time.monotonic()
        self._stages = {stage: StageCounts() for stage in stages}
        self._next = dict(itertools.pairwise(stages))
        self._queues: dict[str, set[str]] = {stage: set() for stage in stages}  # sets: a chunk may be done twice
        self._early: dict[str, set[str]] = {stage: set() for stage in stages}  # begun before they were queued
        self._attempts: dict[str, dict[str, Attempts]] = {stage: {} for stage in stages}
        self._in_progress: dict[str, dict[str, ChunkInProgress]] = {stage: {} for stage in stages}
        self._recycled: set[str] = set()  # workers that have ended themselves and have not started again
        self._bytes_finished = dict.fromkeys(stages, 0)
        self._hangs_since_image = dict.fromkeys(stages, 0)  # since an image was last done
        self._last_heartbeat = now
        self._last_progress = dict.fromkeys(stages, now)
        self._first_chunk_started: dict[str, float] = {}
        self._offered_until: dict[str, float] = {}  # up to when `offered_seconds` counts
        self._notices: dict[str, None] = {}  # in their order
        self._retrying: dict[str, dict[str, Mapping[str, int]]] = {stage: {} for stage in stages}  # by worker

    def add_worker(self, stage: str, worker: str = "", is_restarted: bool = False) -> None:
        """Records that a worker of the stage is ready. One that is restarted takes the place of one that has ended."""
        now = self._mark_progress(stage)
        if is_restarted and worker not in self._recycled:
            self._record_death(stage, worker, now)
        self._recycled.discard(worker)
        self._count_offered_time(stage, now, more=1)

    def recycle_worker(self, stage: str, worker: str = "") -> None:
        """Records that a worker of the stage ends itself between two chunks. Ray starts another in its place."""
        now = self._mark_progress(stage)
        self._recycled.add(worker)
        self._count_offered_time(stage, now, more=-1)
        self._stages[stage].recycled += 1

    def record(self, stage: str, worker: str, sent_at: float, events: Sequence[Event]) -> None:
        """Takes the events of a worker, in their order. `sent_at` is the time of its clock as it sent them."""
        offset = time.monotonic() - sent_at
        for event in events:
            at = event.at + offset
            match event:
                case Begin():
                    begun = ChunkInProgress(at, event.rows, event.size, worker, event.start)
                    self._begin(stage, event.chunk, begun)
                case Progress():
                    self._record_progress(stage, event, at)
                case Finish():
                    self._finish(stage, event.chunk, at, event.ends_chunk)
                case Heartbeat():
                    self._last_heartbeat = max(self._last_heartbeat, at)
                case Retrying():
                    self._retrying[stage][worker] = event.requests

    def record_heartbeat(self) -> None:
        """Takes the heartbeat of a worker that loads its engine."""
        self._last_heartbeat = time.monotonic()

    def add_notice(self, line: str) -> None:
        """Takes a line that the user should read. A line that several workers add is kept once."""
        self._notices[line] = None

    def begin(self, stage: str, chunk: str, rows: int, size: int = 0, worker: str = "", start: int = 0) -> Attempts:
        """Records that a worker starts a chunk of `rows` samples and `size` bytes.

        Returns what earlier attempts at it have shown.
        """
        return self._begin(stage, chunk, ChunkInProgress(time.monotonic(), rows, size, worker, start))

    def has_deaths(self, stage: str, chunk: str) -> bool:
        """Returns whether workers have died on the chunk."""
        return chunk in self._attempts[stage] and self._attempts[stage][chunk].is_isolating

    def start_range(self, stage: str, chunk: str, at_work: Range) -> None:
        """Records that an isolating worker is about to start on this range alone."""
        self._mark_progress(stage)
        if chunk in self._attempts[stage]:  # a restarted ledger does not know the chunk
            self._attempts[stage][chunk].at_work = at_work

    def report_hang(self, stage: str, chunk: str, at_work: Range, is_decoding: bool) -> bool:
        """Records that a worker never returns from these samples. Returns whether to end it, so that one is found.

        It must stay where the engine has done no image at all, or none between `MAX_HANGS` hangs: then no sample is at
        fault, and the run should end.
        """
        attempts = self._attempts[stage].get(chunk)
        if (
            attempts is None
            or (not is_decoding and not self._stages[stage].images)
            or self._hangs_since_image[stage] >= MAX_HANGS
        ):
            return False
        self._mark_progress(stage)
        self._hangs_since_image[stage] += not is_decoding
        attempts.record_hang(at_work, is_decoding)
        return True

    def finish(self, stage: str, chunk: str) -> None:
        """Records that a chunk is done."""
        self._finish(stage, chunk, time.monotonic())

    def snapshot(self) -> Snapshot:
        """Returns the counts and the state of each stage, and the time since the last heartbeat."""
        now = time.monotonic()
        states = {stage: self._make_state(stage, now) for stage in self._stages}
        return Snapshot(self._stages, states, now - self._last_heartbeat, list(self._notices))

    def _begin(self, stage: str, chunk: str, begun: ChunkInProgress) -> Attempts:
        now = self._mark_progress(stage, begun.started)
        self._first_chunk_started.setdefault(stage, now)
        self._offered_until.setdefault(stage, now)
        attempts = self._attempts[stage].get(chunk)
        if attempts is None:
            attempts = self._attempts[stage][chunk] = Attempts((0, begun.rows))
            if stage in self._next.values() and chunk not in self._queues[stage]:
                self._early[stage].add(chunk)
        elif chunk in self._in_progress[stage]:  # the death of its worker is not known yet
            self._record_death(stage, self._in_progress[stage][chunk].worker, now, chunk)
        self._queues[stage].discard(chunk)
        self._in_progress[stage][chunk] = begun
        attempts.at_work = (0, begun.rows)
        self._count_offered_time(stage, now, more=self._count_unknown_workers(stage))
        return attempts

    def _record_progress(self, stage: str, progress: Progress, at: float) -> None:
        self._mark_progress(stage, at)
        if (found := self._in_progress[stage].get(progress.chunk)) is not None:
            found.rows_done += progress.images
        self._stages[stage].images += progress.images
        self._hangs_since_image[stage] = 0 if progress.images else self._hangs_since_image[stage]
        self._stages[stage].busy_seconds += progress.busy_seconds

    def _finish(self, stage: str, chunk: str, at: float, ends_chunk: bool = True) -> None:
        now = self._mark_progress(stage, at)
        self._count_offered_time(stage, now)
        counts = self._stages[stage]
        counts.chunks += ends_chunk
        counts.working_seconds = max(counts.working_seconds, now - self._first_chunk_started.get(stage, now))
        self._attempts[stage].pop(chunk, None)
        if (done := self._in_progress[stage].pop(chunk, None)) is not None:  # a restarted ledger does not know it
            self._bytes_finished[stage] += done.size
        if (following := self._next.get(stage)) is None:
            return
        if chunk in self._early[following]:
            self._early[following].discard(chunk)
            return
        if not self._has_work(following):
            self._last_progress[following] = max(now, self._last_progress[following])  # it had no work until now
        self._queues[following].add(chunk)

    def _record_death(self, stage: str, worker: str, now: float, chunk: str = "") -> None:
        """Records that a worker has died: on `chunk`, and on others that it was known to work on.

        They are no longer in progress. What is known of the attempts at them stays, until they are done.
        """
        chunks = self._in_progress[stage]
        for name in [name for name, found in chunks.items() if name == chunk or (worker and found.worker == worker)]:
            del chunks[name]
            self._attempts[stage][name].record_death()
        self._retrying[stage].pop(worker, None)
        self._stages[stage].deaths += 1
        self._count_offered_time(stage, now, more=-1)

    def _make_state(self, stage: str, now: float) -> StageState:
        chunks = self._in_progress[stage]
        state = StageState(len(chunks), len(self._queues[stage]))
        state.retrying = sum(map(Counter, self._retrying[stage].values()), Counter())
        state.bytes_done = self._bytes_finished[stage] + sum(chunk.bytes_done for chunk in chunks.values())
        if self._has_work(stage):
            state.seconds_since_progress = now - self._last_progress[stage]
        if chunks:
            chunk = min(chunks, key=lambda chunk: chunks[chunk].started)
            start, stop = self._attempts[stage][chunk].at_work
            state.oldest_chunk_seconds = now - chunks[chunk].started
            first = chunks[chunk].start
            name = chunk.removesuffix(f"+{first}")
            state.oldest_chunk = f"shard-chunk {name}, samples {first + start} to {first + stop - 1}"
        return state

    def _has_work(self, stage: str) -> bool:
        return bool(self._in_progress[stage] or self._queues[stage])

    def _mark_progress(self, stage: str, at: float | None = None) -> float:
        """Records that the stage has made progress, now or at the given time. Returns the time."""
        at = time.monotonic() if at is None else at
        self._last_heartbeat = max(self._last_heartbeat, at)
        self._last_progress[stage] = max(self._last_progress[stage], at)
        return at

    def _count_offered_time(self, stage: str, now: float, more: int = 0) -> None:
        """Counts the time offered by workers since there was work, then adds `more` workers."""
        counts = self._stages[stage]
        if stage in self._offered_until and now > self._offered_until[stage]:
            counts.offered_seconds += counts.workers * (now - self._offered_until[stage])
            self._offered_until[stage] = now
        counts.workers = max(0, counts.workers + more)  # a worker from before a restart of the ledger may end, too

    def _count_unknown_workers(self, stage: str) -> int:
        """Returns how many busy workers a restarted ledger does not know, because they started before it died."""
        found = [chunk.worker for chunk in self._in_progress[stage].values()]
        return max(0, len(set(filter(None, found))) + found.count("") - self._stages[stage].workers)


def start_ledger(stages: Sequence[str], kind: type[Ledger] = Ledger) -> ray.actor.ActorHandle:
    """Starts the ledger of a run, of a `kind`. If its process dies, Ray restarts it with empty counts.

    It runs on the driver's node, so that the loss of another node does not lose the counts. The affinity is hard,
    because Ray ignores a `soft` one.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=3, scheduling_strategy=here)(kind)
    return actor.remote(list(stages))
