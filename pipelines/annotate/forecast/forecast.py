"""Estimates a run from its probe."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipelines.annotate.forecast.estimate import (
    Interval,
    StageForecast,
    collect_costs,
    draw_times,
    estimate_stages,
    measure_drift,
)
from pipelines.annotate.forecast.facts import SampleFacts
from pipelines.annotate.forecast.options import ForecastOptions
from pipelines.annotate.forecast.timeline import Group, WorkTime, measure_work
from pipelines.annotate.slices import TailPlan
from pipelines.cluster.chunk_times import ChunkTime
from pipelines.recipes.annotate import ChunkOptions

SECONDS_PER_HOUR = 3600


@dataclass(frozen=True, slots=True)
class ProbeTimes:
    """Holds the times of a probe, as far as an estimate needs them."""

    stages: dict[str, int]  # in the graph's order, with the workers of each
    groups: Sequence[Group]
    unit: int  # samples of a chunk of the probe
    slice_unit: int  # samples that stay together where the run cuts its last chunks
    start: float  # seconds to the first chunk
    closing: float  # seconds after the last chunk
    times: Sequence[ChunkTime]
    peaks: dict[str, list[int]]


@dataclass(frozen=True, slots=True)
class Forecast:
    """Says what a run takes."""

    recipe_sha256: str
    images: int
    are_images_given: bool
    seconds: Interval  # of the run, from its start to its end
    start_seconds: float  # of these, until the first chunk
    seconds_per_image: float  # that each further image adds
    slowest: list[str]  # the stages that the others wait for
    stages: list[StageForecast]
    facts: SampleFacts
    price_per_hour: float | None
    probe: dict[str, float]  # what the probe was

    @property
    def bytes_in(self) -> int:
        """Returns the bytes that the run reads."""
        return round(self.images * self.facts.bytes_in)

    @property
    def bytes_out(self) -> int:
        """Returns the bytes that the run writes."""
        return round(self.images * self.facts.bytes_out)

    @property
    def money(self) -> Interval | None:
        """Returns the price of the run; None without that of an hour."""
        if self.price_per_hour is None:
            return None
        price = self.price_per_hour / SECONDS_PER_HOUR
        return Interval(*(price * end for end in (self.seconds.value, self.seconds.low, self.seconds.high)))

    def to_dict(self) -> dict[str, Any]:
        """Returns the forecast as plain data."""
        money = None if self.money is None else asdict(self.money)
        hours = {name: value / SECONDS_PER_HOUR for name, value in asdict(self.seconds).items()}
        return asdict(self) | {"hours": hours, "money": money, "bytes_in": self.bytes_in, "bytes_out": self.bytes_out}


def estimate_run(
    recipe_sha256: str,
    chunk: ChunkOptions,
    probe: ProbeTimes,
    facts: SampleFacts,
    total_bytes: int,
    options: ForecastOptions,
) -> Forecast:
    """Returns the forecast of a run over an input of so many bytes."""
    work = measure_work(probe.times, probe.groups, list(probe.stages))
    costs = collect_costs(probe.times, work)
    images = options.images or max(1, round(total_bytes / facts.bytes_in))
    rest = work.warm_up + work.idle * count_slice_units(chunk, probe, facts) + probe.closing
    return Forecast(
        recipe_sha256,
        images,
        options.images is not None,
        draw_times(costs, work.per_image, images, probe.start, rest),
        probe.start,
        work.per_image,
        sorted(work.group.stages),
        estimate_stages(probe.times, probe.stages, probe.peaks),
        facts,
        options.price_per_hour,
        _describe_probe(work, probe, measure_drift(costs), options),
    )


def count_slice_units(chunk: ChunkOptions, probe: ProbeTimes, facts: SampleFacts) -> float:
    """Returns how long a worker may idle at the end, over that in the probe: a slice of the run over a chunk of it."""
    whole = min(chunk.samples, chunk.pixels / facts.pixels, chunk.bytes / facts.bytes_in)
    starts = TailPlan(unit=probe.slice_unit).cut(max(1, int(whole)))
    rows = starts[1] if len(starts) > 1 else whole
    return rows / probe.unit


def _describe_probe(work: WorkTime, probe: ProbeTimes, drift: float, options: ForecastOptions) -> dict[str, float]:
    chunks = len({time.chunk for time in probe.times})
    seconds = {"warm_up_seconds": work.warm_up, "idle_seconds": work.idle, "closing_seconds": probe.closing}
    return {"images": work.images, "chunks": chunks, "seed": options.seed, "drift": drift} | seconds
