"""Adds up the counts and timings of runs, and keeps them in `stats.json`, which `shardloom stats` reads."""

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Self, TypeVar

from pydantic import TypeAdapter

from schemas.errors import ShardloomError
from schemas.output_set.layout import MAX_MANIFEST, QUARANTINE, STATS, read_manifests
from schemas.output_set.manifest import Manifest, seal, unseal
from schemas.storage.folder import Folder

Number = TypeVar("Number", int, float)


ANNOTATED = "annotated"
"""The outcome of rows that are not left out."""


@dataclass(slots=True)
class RunTimes:
    """Holds timings and counts of runs into one output set. `a + b` is the sum of both."""

    runs: int = 0
    seconds: float = 0.0
    commit_seconds: float = 0.0
    stages: dict[str, dict[str, float]] = field(default_factory=dict)  # stage -> counter -> value
    # Of annotation:
    rows: dict[str, int] = field(default_factory=dict)  # "annotated", or the reason for leaving it out -> rows
    engine_errors: dict[str, int] = field(default_factory=dict)  # engine -> images that it failed on
    bytes: int = 0  # of the samples worked on
    shards: int = 0  # committed
    resent: int = 0  # retries of requests to the object store
    tokens: int = 0  # of prompts and texts of captions

    def __add__(self, other: Self) -> Self:
        stages = {
            stage: _add_counts(self.stages.get(stage, {}), other.stages.get(stage, {}))
            for stage in [*self.stages, *(stage for stage in other.stages if stage not in self.stages)]
        }
        return type(self)(
            self.runs + other.runs,
            self.seconds + other.seconds,
            self.commit_seconds + other.commit_seconds,
            stages,
            _add_counts(self.rows, other.rows),
            _add_counts(self.engine_errors, other.engine_errors),
            self.bytes + other.bytes,
            self.shards + other.shards,
            self.resent + other.resent,
            self.tokens + other.tokens,
        )

    def add_chunk(self, rows: int, reasons: dict[str, int], engine_errors: dict[str, int], size: int) -> None:
        """Counts the rows and bytes of a chunk that was worked on in this run."""
        self.rows = _add_counts(self.rows, {ANNOTATED: rows - sum(reasons.values())} | reasons)
        self.engine_errors = _add_counts(self.engine_errors, engine_errors)
        self.bytes += size


def _add_counts(one: dict[str, Number], other: dict[str, Number]) -> dict[str, Number]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}


class RunClock:
    """Measures the time of one run."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self.times = RunTimes(runs=1)

    def stop(self, output: Folder) -> None:
        """Adds this run's times to those that the output set stores."""
        self.times.seconds = time.monotonic() - self._started
        output.write(STATS, seal(asdict(read_times(output) + self.times)))


@dataclass(slots=True)
class Totals:
    """Holds the counts of an output set, summed over its manifests."""

    outputs: int = 0
    rows_in: int = 0
    rows_out: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)  # rows that the recipe does not choose, by its option
    counts: Counter[str] = field(default_factory=Counter)
    damaged: dict[str, list[str]] = field(default_factory=dict)  # output -> what is wrong with its input
    is_unchanged: bool = field(default=False, compare=False)  # whether the run found every output committed

    def add(self, manifest: Manifest) -> None:
        """Adds the counts of one output."""
        self.outputs += 1
        self.rows_in += manifest.rows_in - sum(manifest.retried.values())
        self.rows_out += manifest.rows_out
        self.reasons.update(manifest.reasons)
        self.reasons.subtract(manifest.retried)
        self.left_out.update(manifest.left_out)
        self.counts.update(manifest.counts)
        if manifest.damage:
            self.damaged[manifest.name] = manifest.damage

    @property
    def quarantined(self) -> int:
        """Returns the number of rows left out, for any reason."""
        return self.reasons.total()

    @property
    def rows_chosen(self) -> int:
        """Returns the number of rows that the recipe chooses."""
        return self.rows_in - self.left_out.total()

    def to_dict(self) -> dict[str, Any]:
        """Returns the totals as plain data."""
        counters = {"reasons": dict(self.reasons), "counts": dict(self.counts), "damaged": self.damaged}
        rows = {"outputs": self.outputs, "rows_in": self.rows_in, "rows_out": self.rows_out}
        left_out = {"left_out": dict(self.left_out)} if self.left_out else {}
        return rows | {"quarantined": self.quarantined} | left_out | counters


class DamagedInput(ShardloomError):
    """Reports that some of the input could not be read; everything readable is committed."""


def read_totals(output: Folder) -> Totals:
    """Returns the totals of an output set."""
    return add_up_manifests(read_manifests(output).values())


def add_up_manifests(manifests: Iterable[Manifest]) -> Totals:
    """Returns the totals of these outputs."""
    result = Totals()
    for manifest in manifests:
        result.add(manifest)
    result.reasons = +result.reasons  # without reasons whose rows all succeeded later
    return result


def read_times(output: Folder) -> RunTimes:
    """Returns the timings that an output set stores; zeros when the file is missing or damaged."""
    if not output.exists(STATS):
        return RunTimes()
    text = output.read_inside(STATS, MAX_MANIFEST)
    try:
        return TypeAdapter(RunTimes).validate_python(unseal(text))
    except (ValueError, TypeError):
        return RunTimes()


class EmptyOutputError(ShardloomError):
    """Reports that rows went into an output set and none came out."""


def check_not_empty(result: Totals, output: str) -> None:
    """Raises `EmptyOutputError` with the count of each reason, if rows went in and all were left out."""
    if result.rows_chosen > 0 and result.rows_out == 0:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in result.reasons.most_common())
        reasons += "".join(
            f"; {count:,} more left out by {option}" for option, count in result.left_out.items() if count
        )
        raise EmptyOutputError(
            f"{output}: none of {result.rows_chosen:,} rows came out ({reasons or 'no reason is recorded'}): "
            f"see {QUARANTINE}/ there for the details of each"
        )


def check_damage(result: Totals, allow: bool) -> None:
    """Raises `DamagedInput` with the names of damaged shards, unless `allow` accepts them."""
    if result.damaged and not allow:
        some = "; ".join(f"{name}: {damage[0]}" for name, damage in list(result.damaged.items())[:3])
        raise DamagedInput(
            f"{len(result.damaged)} shards are damaged ({some}); their readable samples are committed, "
            "--allow-damaged accepts that"
        )
