"""Counts and timings of runs: added up while they go, kept in `stats.json`, read by `shardloom stats`."""

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Self, TypeVar

from pydantic import TypeAdapter

from schemas.errors import ShardloomError
from schemas.output_set.layout import MAX_MANIFEST, QUARANTINE, STATS, committed
from schemas.output_set.manifest import Manifest, seal, unseal
from schemas.storage.folder import Folder

Number = TypeVar("Number", int, float)


ANNOTATED = "annotated"
"""The outcome of rows that are not left out."""


@dataclass(slots=True)
class RunTimes:
    """Timings of runs into one output set, and what they have done. They add up: `a + b` is what both took."""

    runs: int = 0
    seconds: float = 0.0
    commit_seconds: float = 0.0
    stages: dict[str, dict[str, float]] = field(default_factory=dict)  # stage -> counter -> value
    # Of annotation:
    rows: dict[str, int] = field(default_factory=dict)  # "annotated", or the reason for leaving it out -> rows
    engine_errors: dict[str, int] = field(default_factory=dict)  # engine -> images that it failed on
    bytes: int = 0  # of the samples that were worked on
    shards: int = 0  # committed
    resent: int = 0  # requests to the object store that were sent again

    def __add__(self, other: Self) -> Self:
        stages = {
            stage: _added(self.stages.get(stage, {}), other.stages.get(stage, {}))
            for stage in [*self.stages, *(stage for stage in other.stages if stage not in self.stages)]
        }
        return type(self)(
            self.runs + other.runs,
            self.seconds + other.seconds,
            self.commit_seconds + other.commit_seconds,
            stages,
            _added(self.rows, other.rows),
            _added(self.engine_errors, other.engine_errors),
            self.bytes + other.bytes,
            self.shards + other.shards,
            self.resent + other.resent,
        )

    def add_chunk(self, rows: int, reasons: dict[str, int], engine_errors: dict[str, int], size: int) -> None:
        """Counts the rows and bytes of a chunk that was worked on in this run."""
        self.rows = _added(self.rows, {ANNOTATED: rows - sum(reasons.values())} | reasons)
        self.engine_errors = _added(self.engine_errors, engine_errors)
        self.bytes += size


def _added(one: dict[str, Number], other: dict[str, Number]) -> dict[str, Number]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}


class RunClock:
    """Times one run."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self.times = RunTimes(runs=1)

    def stop(self, output: Folder) -> None:
        """Adds this run's times to those of the output set."""
        self.times.seconds = time.monotonic() - self._started
        output.write(STATS, seal(asdict(read_times(output) + self.times)))


@dataclass(slots=True)
class Totals:
    """What an output set holds, added up over its manifests."""

    outputs: int = 0
    rows_in: int = 0
    rows_out: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    damaged: dict[str, list[str]] = field(default_factory=dict)  # output -> what is wrong with its input

    def add(self, manifest: Manifest) -> None:
        """One output more."""
        self.outputs += 1
        self.rows_in += manifest.rows_in - sum(manifest.retried.values())
        self.rows_out += manifest.rows_out
        self.reasons.update(manifest.reasons)
        self.reasons.subtract(manifest.retried)
        self.counts.update(manifest.counts)
        if manifest.damage:
            self.damaged[manifest.name] = manifest.damage

    @property
    def quarantined(self) -> int:
        """Rows left out, whatever the reason."""
        return self.reasons.total()

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        counters = {"reasons": dict(self.reasons), "counts": dict(self.counts), "damaged": self.damaged}
        rows = {"outputs": self.outputs, "rows_in": self.rows_in, "rows_out": self.rows_out}
        return rows | {"quarantined": self.quarantined} | counters


class DamagedInput(ShardloomError):
    """Everything readable is committed, but some of the input could not be read."""


def totals(output: Folder) -> Totals:
    """The totals of an output set."""
    return totals_of(committed(output).values())


def totals_of(manifests: Iterable[Manifest]) -> Totals:
    """The totals of outputs."""
    result = Totals()
    for manifest in manifests:
        result.add(manifest)
    result.reasons = +result.reasons  # without those of which all rows were had later
    return result


def read_times(output: Folder) -> RunTimes:
    """The timings kept in an output set; zeros when there are none or they are not what was written."""
    if not output.exists(STATS):
        return RunTimes()
    text = output.read_inside(STATS, MAX_MANIFEST)
    try:
        return TypeAdapter(RunTimes).validate_python(unseal(text))
    except (ValueError, TypeError):
        return RunTimes()


class NothingOutError(ShardloomError):
    """Rows went into an output set, and none came out."""


def check_any_out(result: Totals, output: str) -> None:
    """Raises `NothingOutError` with the reasons by count, where rows went in and all were left out."""
    if result.rows_in > 0 and result.rows_out == 0:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in result.reasons.most_common())
        raise NothingOutError(
            f"{output}: none of {result.rows_in:,} rows came out ({reasons or 'no reason is held'}): "
            f"{QUARANTINE}/ there has the details of each"
        )


def check_damage(result: Totals, allow: bool) -> None:
    """Raises `DamagedInput` naming the damaged shards, unless that is allowed."""
    if result.damaged and not allow:
        some = "; ".join(f"{name}: {damage[0]}" for name, damage in list(result.damaged.items())[:3])
        raise DamagedInput(
            f"{len(result.damaged)} shards are damaged ({some}); their readable samples are committed, "
            "--allow-damaged accepts that"
        )
