"""Defines the request for a mixture and its sources, and validates that it can be satisfied."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from curation.mixture.shuffle import Shuffle
from schemas.errors import UsageError

MAX_SOURCES = 1000
MAX_UNITS = 2**31 - 1

WeightUnit = Literal["samples", "tokens", "images", "characters", "multimodal_tokens"]
Stop = Literal["first_exhausted", "all_exhausted"] | int


@dataclass(frozen=True)
class Source:
    """Describes a data set by the figures of its index."""

    name: str  # its dotted path in the weights; also seeds its order
    length: int  # samples, numbered in the order of its shards; the sizes of the shards do not matter
    measures: Mapping[str, NDArray[np.integer[Any]]] = field(default_factory=dict)
    """Values of each sample by name (tokens, images, characters): integers from 0 to 2**31 - 1; may be mapped."""


@dataclass(frozen=True)
class Mixture:
    """Holds the request: shares, repeats, the stop rule and the seed."""

    shares: Mapping[str, Fraction]  # the share of each source, by name: see `compute_shares`
    unit: WeightUnit = "samples"  # the unit in which shares are counted
    repeat: Mapping[str, int | None] = field(default_factory=dict)
    """Maximum epochs of a source, by name; None: no limit. 1 for sources not named."""
    # When the mixture ends: when the first source is exhausted; when all limited sources are exhausted (those without
    # a limit fill up until then); or after a number of samples, or sooner if the sources have no more.
    stop: Stop = "all_exhausted"
    seed: int = 0

    def get_repeat(self, name: str) -> int | None:
        """Returns the maximum number of epochs of a source; None: no limit."""
        return self.repeat.get(name, 1)

    def get_shuffle(self, source: Source) -> Shuffle:
        """Returns the order in which a source's samples are drawn."""
        return Shuffle.for_source(source.length, self.seed, source.name)


def validate_sources(mixture: Mixture, sources: Sequence[Source]) -> list[Source]:
    """Validates the request and returns the sources in the order of the shares. Raises `UsageError`."""
    by_name = {source.name: source for source in sources}
    if len(by_name) != len(sources):
        raise UsageError("mixture: two sources have the same name")
    for name in mixture.shares:
        if name not in by_name:
            raise UsageError(f"mixture: {name} has a weight but no samples; sources: {', '.join(by_name) or 'none'}")
    for name in (*by_name, *mixture.repeat):
        if name not in mixture.shares:
            raise UsageError(f"mixture: {name} has no weight; those with one: {', '.join(mixture.shares)}")
    if len(sources) > MAX_SOURCES:
        raise UsageError(f"mixture: {len(sources)} sources; at most {MAX_SOURCES}")
    for name, times in mixture.repeat.items():
        if times is not None and (isinstance(times, bool) or times < 1):
            raise UsageError(f"mixture: {name}: repeat is {times}; it must be at least 1, or null for no limit")
    _check_stop(mixture)
    for source in sources:
        _check_source(source, mixture.unit)
    return [by_name[name] for name in mixture.shares]


def _check_stop(mixture: Mixture) -> None:
    if isinstance(mixture.stop, int):
        if isinstance(mixture.stop, bool) or mixture.stop < 1:
            raise UsageError(f"mixture: stop after {mixture.stop} samples; it must be at least 1")
    elif mixture.stop not in ("first_exhausted", "all_exhausted"):
        raise UsageError(
            f"mixture: stop is {mixture.stop!r}, not first_exhausted, all_exhausted or a number of samples"
        )
    elif all(mixture.get_repeat(name) is None for name in mixture.shares):
        raise UsageError("mixture: all sources repeat without end; stop after a number of samples, or limit a repeat")


def _check_source(source: Source, unit: WeightUnit) -> None:
    if source.length < 1:
        raise UsageError(f"mixture: {source.name} has no samples")
    for name, values in source.measures.items():
        if values.shape != (source.length,) or values.dtype.kind not in "iu":
            raise UsageError(f"mixture: {source.name}: {name} must be {source.length} integers, one for each sample")
    if unit == "samples":
        return
    if unit not in source.measures:
        hint = ": name a tokenizer when its shards are indexed" if "tokens" in unit else ""
        raise UsageError(f"mixture: {source.name} is weighted by {unit}, but its index has none{hint}")
    low, high = int(source.measures[unit].min()), int(source.measures[unit].max())
    if low < 0 or high > MAX_UNITS:
        raise UsageError(f"mixture: {source.name} has a sample of {low if low < 0 else high} {unit}")
    if high == 0:
        raise UsageError(f"mixture: {source.name} is weighted by {unit}, but all its samples have 0")
