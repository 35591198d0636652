"""The turns of sources weighted by samples: they repeat, so one period's table finds any position by arithmetic."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from curation.mixture.rule import period

_PIECE = 1 << 15  # positions looked up at a time: they stay in the processor's cache


class BySamples:
    """The turns from where all sources have samples left until the first of them has none.

    `left` is what each may still give; None: as much as is asked for.
    """

    def __init__(self, weights: Sequence[int], left: Sequence[int | None]) -> None:
        self._weights = np.asarray(weights, np.int64)
        self._turns = period(tuple(weights))
        self._places = [np.flatnonzero(self._turns == source) for source in range(len(weights))]
        self._ranks = np.empty(len(self._turns), np.int64)  # how often the turn's source was drawn from before it
        for places in self._places:
            self._ranks[places] = np.arange(len(places))
        ends = [self._behind(source, count) for source, count in enumerate(left) if count is not None]
        self.end = min(ends, default=None)
        """Turns until a source is used up; None: never."""

    def take(self, start: int, stop: int) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
        """The sources that have the turns from `start` to `stop`, and how often each was drawn from before."""
        sources, ordinals = np.empty(stop - start, np.uint16), np.empty(stop - start, np.int64)
        for first in range(start, stop, _PIECE):
            turns = np.arange(first, min(first + _PIECE, stop), dtype=np.int64)
            into = slice(first - start, first - start + len(turns))
            rounds = turns // len(self._turns)
            places = turns - rounds * len(self._turns)
            sources[into] = self._turns[places]
            ordinals[into] = rounds * self._weights[sources[into]] + self._ranks[places]
        return sources, ordinals

    def drawn(self, turns: int) -> list[int]:
        """How often each source is drawn from in the first so many turns."""
        rounds, rest = divmod(turns, len(self._turns))
        parts = [int(np.searchsorted(places, rest)) for places in self._places]
        return [rounds * len(places) + part for places, part in zip(self._places, parts, strict=True)]

    def _behind(self, source: int, count: int) -> int:
        """The turns that it takes until a source was drawn from so many times (at least once)."""
        places = self._places[source]
        rounds, rest = divmod(count - 1, len(places))
        return rounds * len(self._turns) + int(places[rest]) + 1
