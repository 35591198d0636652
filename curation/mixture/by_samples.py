"""The turns of sources weighted by samples: they repeat, so one period's table finds any position by arithmetic."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curation.mixture.rule import period, ranks

_PIECE = 1 << 15  # positions looked up at a time: they stay in the processor's cache

Ints = NDArray[np.int64]


class BySamples:
    """The turns from where all sources have samples left until the first of them has none.

    `left` is what each may still give; None: as much as is asked for.
    """

    def __init__(self, weights: Sequence[int], left: Sequence[int | None]) -> None:
        self._weights = tuple(weights)
        ends = [self._behind(source, count) for source, count in enumerate(left) if count is not None]
        self.end = min(ends, default=None)
        """Turns until a source is used up; None: never."""

    def take(self, start: int, stop: int) -> tuple[NDArray[np.uint16], Ints]:
        """The sources that have the turns from `start` to `stop`, and how often each was drawn from before."""
        sources, ordinals = np.empty(stop - start, np.uint16), np.empty(stop - start, np.int64)
        table, weights = _table(self._weights), np.asarray(self._weights)
        for first in range(start, stop, _PIECE):
            turns = np.arange(first, min(first + _PIECE, stop), dtype=np.int64)
            into = slice(first - start, first - start + len(turns))
            rounds = turns // len(table.turns)
            turns -= rounds * len(table.turns)
            sources[into] = table.turns[turns]
            ordinals[into] = rounds * weights[sources[into]] + table.ranks[turns]
        return sources, ordinals

    def drawn(self, turns: int) -> list[int]:
        """How often each source is drawn from in the first so many turns."""
        rounds, rest = divmod(turns, sum(self._weights))
        parts = np.bincount(_table(self._weights).turns[:rest], minlength=len(self._weights)).tolist()
        return [rounds * weight + part for weight, part in zip(self._weights, parts, strict=True)]

    def _behind(self, source: int, count: int) -> int:
        """The turns that it takes until a source was drawn from so many times (at least once)."""
        table = _table(self._weights)
        rounds, rest = divmod(count - 1, self._weights[source])
        return rounds * len(table.turns) + int(table.places[table.firsts[source] + rest]) + 1


class _Table(NamedTuple):
    """A period's turns, looked at both ways."""

    turns: NDArray[np.uint16]  # the source that has each
    ranks: Ints  # how often it was drawn from before
    places: Ints  # the turns of the first source, then those of the next
    firsts: Ints  # where those of each source begin


@lru_cache(maxsize=4)  # and made anew when needed again: plans may have hundreds of phases
def _table(weights: tuple[int, ...]) -> _Table:
    turns, counts = period(weights), np.asarray(weights)
    return _Table(turns, ranks(turns, counts * 0), np.argsort(turns, kind="stable"), np.cumsum(counts) - counts)
