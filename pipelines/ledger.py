"""What a run's workers tell its driver while they work: an actor that holds counts and the ranges at work.

One small actor for a run. Workers call it once when they begin a chunk, once when they are done and every few seconds
in between, so that a thousand of them stay far below what one actor answers.
"""

import time
from dataclasses import dataclass, field

import ray

from pipelines.attempts import Attempts, Range


@dataclass(slots=True)
class StageCounts:
    """What one stage has done so far in this run."""

    workers: int = 0  # that have started
    images: int = 0
    chunks: int = 0
    deaths: int = 0  # attempts whose worker died
    busy_seconds: float = 0.0  # added up over workers
    working_seconds: float = 0.0  # from the first chunk's begin to the last one's end: start-up apart


@dataclass(slots=True)
class Snapshot:
    """The state of a run as its driver sees it."""

    stages: dict[str, StageCounts] = field(default_factory=dict)
    at_work: dict[str, str] = field(default_factory=dict)  # stage -> what it has been at for longest
    idle_seconds: float = 0.0  # since any worker was last heard of


class Ledger:
    """The actor's class."""

    def __init__(self, stages: list[str]) -> None:
        self._stages = {stage: StageCounts() for stage in stages}
        self._attempts: dict[tuple[str, str], Attempts] = {}
        self._heard = time.monotonic()
        self._began: dict[str, float] = {}

    def start(self, stage: str) -> None:
        """A worker of the stage is ready."""
        self._heard = time.monotonic()
        self._stages[stage].workers += 1

    def alive(self) -> None:
        """A worker is still loading its engine."""
        self._heard = time.monotonic()

    def begin(self, stage: str, chunk: str, rows: int) -> Attempts:
        """A worker takes up a chunk; the answer says what earlier attempts at it have taught."""
        self._heard = time.monotonic()
        self._began.setdefault(stage, self._heard)
        attempts = self._attempts.get((stage, chunk))
        if attempts is not None:
            attempts.died()
            self._stages[stage].deaths += 1
            self._stages[stage].workers -= 1  # another one has started in its place
        else:
            attempts = self._attempts[stage, chunk] = Attempts((0, rows))
        attempts.at_work = (0, rows)
        return attempts

    def enter(self, stage: str, chunk: str, at_work: Range) -> None:
        """A worker that must be careful is about to work on this range alone."""
        self._heard = time.monotonic()
        self._attempts[stage, chunk].at_work = at_work

    def beat(self, stage: str, images: int, busy_seconds: float) -> None:
        """Images done since the last beat, and the time that they took."""
        self._heard = time.monotonic()
        self._stages[stage].images += images
        self._stages[stage].busy_seconds += busy_seconds

    def finish(self, stage: str, chunk: str) -> None:
        """A chunk is done."""
        self._heard = time.monotonic()
        self._stages[stage].chunks += 1
        self._stages[stage].working_seconds = self._heard - self._began.get(stage, self._heard)
        self._attempts.pop((stage, chunk), None)

    def snapshot(self) -> Snapshot:
        """The counts, and how long nothing has been heard."""
        at_work: dict[str, str] = {}
        for (stage, chunk), attempts in self._attempts.items():
            start, stop = attempts.at_work
            at_work.setdefault(stage, f"shard-chunk {chunk}, samples {start} to {stop - 1}")
        return Snapshot(self._stages, at_work, time.monotonic() - self._heard)


def start_ledger(stages: list[str]) -> ray.actor.ActorHandle:
    """A ledger of its own for this run. If its process dies it starts again, with empty counts."""
    return ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=3)(Ledger).remote(stages)
