"""Computes from the times of a probe's chunks what an image costs: without warm-up, and without workers that idle.

A group of stages shares a resource: the cores, one kind of GPU workers, or a server. It is saturated while as many of
its workers are busy as the resource has places. In a long run one group is saturated nearly all the time: the time that
an image costs is that for which it saturates that group. At the start and the end of a short run some places idle, and
that counts by the share that is busy.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.cluster.chunk_times import ChunkTime


@dataclass(frozen=True, slots=True)
class Group:
    """Describes stages that share a resource with so many places for busy workers."""

    stages: frozenset[str]
    places: int


@dataclass(frozen=True, slots=True)
class WorkTime:
    """Holds what a number of images took."""

    images: int
    seconds: float
    """For which the group was saturated, without warm-up."""
    warm_up: float
    """More seconds that the first chunk of each worker took, over the places."""
    idle: float
    """Seconds in which the group waited for the first chunks, or had none left for some of its places."""
    group: Group
    """That which the others wait for."""

    @property
    def per_image(self) -> float:
        """Returns the seconds that an image adds to a long run."""
        return self.seconds / self.images


def find_warm_ups(times: Sequence[ChunkTime]) -> set[tuple[str, str]]:
    """Returns the stage and chunk of the first chunk of each worker, on which it allocates, compiles and fills caches.

    A stage whose every chunk is a first one has none: nothing else would be left to measure.
    """
    first: dict[tuple[str, str], ChunkTime] = {}
    for time in times:
        known = first.get((time.stage, time.worker))
        if known is None or time.started < known.started:
            first[time.stage, time.worker] = time
    counts = Counter(time.stage for time in times)
    firsts = Counter(stage for stage, _ in first)
    return {(one.stage, one.chunk) for one in first.values() if firsts[one.stage] < counts[one.stage]}


def measure_work(times: Sequence[ChunkTime], groups: Sequence[Group], stages: Sequence[str]) -> WorkTime:
    """Returns what the chunks took. `stages` are in the order of the graph, and the first has every image."""
    images = sum(time.rows for time in times if time.stage == stages[0])
    span = max(time.ended for time in times) - min(time.started for time in times)
    warm = find_warm_ups(times)
    excess = measure_excess(times, warm)
    best: WorkTime | None = None
    for group in groups:
        own = [time for time in times if time.stage in group.stages]
        if not own:
            continue
        saturated = integrate_share(own, group.places)
        more = min(saturated / 2, sum(excess[stage] for stage in group.stages) / group.places)
        found = WorkTime(images, saturated - more, more, span - saturated, group)
        best = found if best is None or found.seconds > best.seconds else best
    assert best is not None, "every stage is in a group"
    return best


def measure_excess(times: Sequence[ChunkTime], warm: set[tuple[str, str]]) -> Mapping[str, float]:
    """Returns the seconds by stage that its workers' first chunks took longer than others of as many images."""
    seconds: dict[str, float] = defaultdict(float)
    rows = Counter[str]()
    for time in times:
        if (time.stage, time.chunk) not in warm:
            seconds[time.stage] += time.seconds
            rows[time.stage] += time.rows
    excess: dict[str, float] = defaultdict(float)
    for time in times:
        if (time.stage, time.chunk) in warm and rows[time.stage]:
            usual = seconds[time.stage] / rows[time.stage] * time.rows
            excess[time.stage] += max(0.0, time.seconds - usual)
    return excess


def integrate_share(times: Sequence[ChunkTime], places: int) -> float:
    """Returns the integral over time of the share of places that are busy, which is at most 1."""
    changes = sorted([(time.started, 1) for time in times] + [(time.ended, -1) for time in times])
    total, busy, last = 0.0, 0, changes[0][0]
    for at, change in changes:
        total += min(1.0, busy / places) * (at - last)
        busy, last = busy + change, at
    return total
