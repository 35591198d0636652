"""Estimates a run from a probe, with 95 % intervals.

The interval of a rate is that of a bootstrap over chunks. The interval of the time has two more parts: the images of
the run are others than those of the probe, and a machine is not equally fast in every minute. The second is measured by
how the thirds of the probe differ, and is at least `DRIFT`.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from curation.scores.bootstrap import DRAWS, QUANTILES, SEED, Floats, draw_resamples
from pipelines.annotate.forecast.timeline import WorkTime, find_warm_ups
from pipelines.cluster.chunk_times import ChunkTime

DRIFT = 0.05  # relative standard deviation of the speed from minute to minute, on a machine with nothing else to do
START_SPREAD = 0.2  # the same of the time in which Ray and the engines start
PARTS = 3  # of the probe, whose speeds are compared


@dataclass(frozen=True, slots=True)
class Interval:
    """Holds an estimate with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class StageForecast:
    """Describes a stage in the probe."""

    stage: str
    workers: int
    images_per_second: Interval  # of all its workers
    balancing_workers: int  # that keep pace with the slowest stage
    worker_bytes: int  # the most memory of a worker


@dataclass(frozen=True, slots=True)
class Costs:
    """Holds what each chunk of the slowest group costs per image, in the order in which they ended."""

    seconds: Floats
    rows: Floats

    @property
    def mean(self) -> float:
        """Returns the seconds of an image."""
        return float(self.seconds.sum() / self.rows.sum())


def estimate_stages(
    times: Sequence[ChunkTime], workers: Mapping[str, int], peaks: Mapping[str, Sequence[int]]
) -> list[StageForecast]:
    """Returns the rate of each stage, and how many workers would keep pace with the slowest one."""
    warm = find_warm_ups(times)
    rates: dict[str, Interval] = {}
    for stage, many in workers.items():
        own = [time for time in times if time.stage == stage and (stage, time.chunk) not in warm]
        seconds, rows = np.array([time.seconds for time in own]), np.array([time.rows for time in own], np.float64)
        drawn = draw_resamples(len(own))
        found = many * (drawn @ rows) / np.maximum(drawn @ seconds, 1e-9)
        rates[stage] = make_interval(float(found[0]), found[1:])
    slowest = min(rate.value for rate in rates.values())
    return [
        StageForecast(
            stage,
            many,
            rates[stage],
            max(1, math.ceil(many * slowest / rates[stage].value - 1e-6)),
            max(peaks.get(stage, ()), default=0),
        )
        for stage, many in workers.items()
    ]


def collect_costs(times: Sequence[ChunkTime], work: WorkTime) -> Costs:
    """Returns the costs of the chunks in the slowest group, without those that warmed up a worker."""
    warm = {chunk for stage, chunk in find_warm_ups(times) if stage in work.group.stages}
    if len({time.chunk for time in times} - warm) < 2:  # a bootstrap needs some
        warm = set()
    seconds: dict[str, float] = defaultdict(float)
    rows: dict[str, int] = {}
    for time in sorted(times, key=lambda time: time.ended):
        if time.stage in work.group.stages and time.chunk not in warm:
            seconds[time.chunk] += time.seconds
            rows[time.chunk] = time.rows
    return Costs(np.array(list(seconds.values())), np.array(list(rows.values()), np.float64))


def measure_drift(costs: Costs) -> float:
    """Returns the relative standard deviation of the costs in parts of the probe; at least `DRIFT`."""
    if len(costs.rows) < 2 * PARTS:
        return DRIFT
    parts = np.array_split(np.arange(len(costs.rows)), PARTS)
    means = [costs.seconds[part].sum() / costs.rows[part].sum() for part in parts]
    return max(DRIFT, float(np.std(np.log(means), ddof=1)))


def draw_times(costs: Costs, per_image: float, images: int, start: float, rest: float) -> Interval:
    """Returns the seconds of a run of so many images: `start` and `rest` do not depend on their number."""
    random = np.random.default_rng(SEED)
    drawn = draw_resamples(len(costs.rows))[1:]
    means = (drawn @ costs.seconds) / (drawn @ costs.rows) / costs.mean
    spread = float(np.std(costs.seconds / costs.rows, ddof=1)) / costs.mean if len(costs.rows) > 1 else 0.0
    others = spread / math.sqrt(max(1.0, images / float(costs.rows.mean())))
    drift = measure_drift(costs)
    factors = means * (1 + others * random.standard_normal(DRAWS)) * np.exp(drift * random.standard_normal(DRAWS))
    starts = start * np.exp(START_SPREAD * random.standard_normal(DRAWS))
    return make_interval(start + rest + images * per_image, starts + rest + images * per_image * factors)


def make_interval(value: float, drawn: Floats) -> Interval:
    """Returns a value with the interval of what was drawn, which includes the value."""
    low, high = (float(end) for end in np.quantile(drawn, QUANTILES))
    return Interval(value, min(value, low), max(value, high))
