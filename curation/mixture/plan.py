"""Plans the order of a mixture: which sample of which source is at position n.

    plan = plan_mixture(Mixture(compute_shares({"ocr": 3, "text": 1}), repeat={"text": None}), sources)
    plan.at(10**8)                   # Position(source="ocr", epoch=0, sample=81237)
    plan.take(0, 10_000)             # arrays: which source, which of its samples
    summarise_plan(plan)             # totals and shares: see `curation.mixture.summary`

A plan has one phase for each set of sources that still have samples: when one source is exhausted, the others continue
in the same proportions to each other, counted from zero. Within a phase, WF2Q (`curation.mixture.wf2q`) keeps every
share exact to less than one sample.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curation.mixture.fixed_size_schedule import FixedSizeSchedule
from curation.mixture.lanes import MAX_SCALED_SIZE
from curation.mixture.spec import Mixture, Source, validate_sources
from curation.mixture.variable_size_schedule import SourceQueue, VariableSizeSchedule
from curation.mixture.weights import RESOLUTION, compute_integer_weights
from schemas.errors import UsageError

__all__ = ["Mixture", "Phase", "Plan", "PlannedSamples", "Position", "Source", "plan_mixture"]

MAX_POSITIONS = 2**60
_LONGEST_PERIOD = 1 << 20  # turns, stored as a table; computing it takes a third of a second
_PIECE = 1 << 18  # positions looked up at a time, so that they stay in the processor's cache


class Position(NamedTuple):
    """Names the sample at a position."""

    source: str
    epoch: int  # epochs of the source completed before, from 0
    sample: int  # its number in the source, in the order of the shards, from 0


class PlannedSamples(NamedTuple):
    """Names the samples at consecutive positions."""

    sources: NDArray[np.uint16]  # indices into `Plan.sources`
    samples: NDArray[np.int64]


@dataclass(frozen=True)
class Phase:
    """Holds a range of positions during which the same sources have samples."""

    start: int
    stop: int
    active: tuple[int, ...]  # indices into `Plan.sources`
    weights: tuple[int, ...]  # of the active sources
    counts: tuple[int, ...]  # draws of each source of the plan before the phase
    schedule: FixedSizeSchedule | VariableSizeSchedule


class Plan:
    """Holds the order of a mixture; built by `plan_mixture`."""

    def __init__(
        self, mixture: Mixture, sources: Sequence[Source], phases: Sequence[Phase], counts: Sequence[int]
    ) -> None:
        self.mixture = mixture
        self.sources = tuple(sources)
        self.phases = tuple(phases)
        self.counts = tuple(counts)
        """The number of draws of each source."""
        self.length = phases[-1].stop
        """The number of positions."""
        self._starts = [phase.start for phase in phases]
        self._shuffles = [mixture.get_shuffle(source) for source in sources]

    def at(self, position: int) -> Position:
        """Returns the sample at a position, in O(log positions): under a millisecond for tens of sources.

        Raises `IndexError` if the plan has no such position.
        """
        if not 0 <= position < self.length:
            raise IndexError(f"position {position} of {self.length}")
        sources, ordinals = self._find_turns(position, position + 1)
        source, ordinal = int(sources[0]), int(ordinals[0])
        sample = int(self._shuffles[source].permute(ordinals)[0])
        return Position(self.sources[source].name, ordinal // self.sources[source].length, sample)

    def take(self, start: int, stop: int) -> PlannedSamples:
        """Returns the samples from position `start` up to `stop`. Raises `IndexError` outside the plan."""
        sources, ordinals = self._find_turns(start, stop)
        for first in range(0, len(ordinals), _PIECE):
            piece, of = ordinals[first : first + _PIECE], sources[first : first + _PIECE]
            for source in np.flatnonzero(np.bincount(of)):
                places = np.flatnonzero(of == source)
                piece[places] = self._shuffles[source].permute(piece[places])
        return PlannedSamples(sources, ordinals)

    def count_draws(self, positions: int) -> tuple[int, ...]:
        """Returns how often each source is drawn from in the first `positions` positions."""
        if positions == self.length:
            return self.counts
        phase = self.phases[bisect_right(self._starts, positions) - 1]
        return tuple(_add_counts(phase.counts, phase.active, phase.schedule.count_draws(positions - phase.start)))

    def sum_measure(self, source: int, measure: str, draws: int) -> int:
        """Returns the sum of a measure (tokens, images or characters) over the first `draws` draws of a source."""
        values, length = self.sources[source].measures[measure], self.sources[source].length
        epochs, rest = divmod(draws, length)
        total = int(values.sum(dtype=np.int64)) if epochs or rest > length // 2 else 0
        # of an incomplete epoch, sum the shorter part: the drawn samples or the others
        first, stop = (draws - rest, draws) if rest <= length // 2 else (draws, draws - rest + length)
        part = 0
        for piece in range(first, stop, 1 << 20):
            ordinals = np.arange(piece, min(piece + (1 << 20), stop), dtype=np.int64)
            part += int(values[self._shuffles[source].permute(ordinals)].sum(dtype=np.int64))
        return epochs * total + (part if rest <= length // 2 else total - part)

    @cached_property
    def fingerprint(self) -> str:
        """A SHA-256 of everything that the order depends on: plans with equal fingerprints are equal."""
        digest = hashlib.sha256(f"1 {self.mixture.unit} {self.mixture.seed} {self.length}\n".encode())
        for phase in self.phases:
            digest.update(f"{phase.active} {phase.weights}\n".encode())
        for source in self.sources:
            times = self.mixture.get_repeat(source.name)
            digest.update(f"{source.name!r} {source.length} {times}\n".encode())
            if self.mixture.unit != "samples":
                units = source.measures[self.mixture.unit]
                for first in range(0, len(units), 1 << 20):
                    digest.update(np.asarray(units[first : first + (1 << 20)]).astype("<u4").tobytes())
        return digest.hexdigest()

    def _find_turns(self, start: int, stop: int) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
        """Returns the source at each position, and how often it was drawn from before."""
        if not 0 <= start <= stop <= self.length:
            raise IndexError(f"positions {start} to {stop} of {self.length}")
        parts = [(np.zeros(0, np.uint16), np.zeros(0, np.int64))]
        for phase in self.phases[bisect_right(self._starts, start) - 1 :]:
            first, last = max(start, phase.start), min(stop, phase.stop)
            if first >= last:
                break
            local, ordinals = phase.schedule.take(first - phase.start, last - phase.start)
            active = np.asarray(phase.active, np.uint16)
            ordinals += np.asarray(phase.counts)[list(phase.active)][local]
            parts.append((active[local], ordinals))
        if len(parts) == 2:
            return parts[1]
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def plan_mixture(mixture: Mixture, sources: Sequence[Source]) -> Plan:
    """Computes the phases: by arithmetic for weights by samples, else by one pass through all samples.

    Raises `UsageError` if a source is missing, empty or without the unit, or if the stop rule can never be met.
    """
    sources = validate_sources(mixture, sources)
    largest, means = 1, [1.0] * len(sources)
    if mixture.unit != "samples":
        measured = [source.measures[mixture.unit] for source in sources]
        largest = max(int(units.max()) for units in measured)
        means = [float(units.mean(dtype=np.float64)) for units in measured]
    limits = [
        None if (times := mixture.get_repeat(source.name)) is None else times * source.length for source in sources
    ]
    most = mixture.stop if isinstance(mixture.stop, int) else None
    counts = [0] * len(sources)
    active = list(range(len(sources)))
    phases: list[Phase] = []
    start = 0
    while active and (start < most if most is not None else any(limits[source] is not None for source in active)):
        asked = [mixture.shares[sources[source].name] for source in active]
        parts = compute_integer_weights(asked, min(RESOLUTION, MAX_SCALED_SIZE // largest))
        left = [None if (limit := limits[source]) is None else limit - counts[source] for source in active]
        turns: FixedSizeSchedule | VariableSizeSchedule
        if mixture.unit == "samples" and sum(parts) <= _LONGEST_PERIOD:
            turns = FixedSizeSchedule(parts, left)
        else:
            draws = []
            for source, rest, part in zip(active, left, parts, strict=True):
                units, order = sources[source].measures.get(mixture.unit), mixture.get_shuffle(sources[source])
                draws.append(SourceQueue(units, means[source], order, counts[source], rest, part))
            turns = VariableSizeSchedule(draws, None if most is None else most - start)
        ends = [end for end in (turns.end, None if most is None else most - start) if end is not None]
        stop = start + min(ends)
        if stop > MAX_POSITIONS:
            raise UsageError("mixture: more than 2**60 samples: repeat the sources less, or stop sooner")
        phases.append(Phase(start, stop, tuple(active), tuple(parts), tuple(counts), turns))
        counts, start = _add_counts(counts, active, turns.count_draws(stop - start)), stop
        active = [source for source in active if (limit := limits[source]) is None or counts[source] < limit]
        if mixture.stop == "first_exhausted":
            break
    return Plan(mixture, sources, phases, counts)


def _add_counts(counts: Sequence[int], active: Sequence[int], drawn: Sequence[int]) -> list[int]:
    """Returns the counts of all sources after adding the draws of the active ones."""
    total = list(counts)
    for source, count in zip(active, drawn, strict=True):
        total[source] += count
    return total
