"""The turns of sources weighted by samples: they repeat, so one period's table finds any position by arithmetic."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from curation.mixture.rule import Ints, period, ranks

_PIECE = 1 << 15  # positions looked up at a time: they stay in the processor's cache


class BySamples:
    """The turns from where all sources have samples left until the first of them has none.

    `left` is what each may still give; None: as much as is asked for.
    """

    def __init__(self, weights: Sequence[int], left: Sequence[int | None]) -> None:
        self._weights = tuple(weights)
        self._total = total = sum(weights)
        # by then a source's last sample is over: see `rule.py`
        ends = [-(-count * total // weight) for count, weight in zip(left, weights, strict=True) if count is not None]
        self._table = period(weights, min(ends, default=total))  # a short phase needs not all of it
        self._ranks = ranks(self._table, np.zeros(len(weights), np.int64)).astype(np.int32)
        self.end = self._end(left)
        """Turns until a source is used up; None: never."""

    def take(self, start: int, stop: int) -> tuple[NDArray[np.uint16], Ints]:
        """The sources that have the turns from `start` to `stop`, and how often each was drawn from before."""
        sources, ordinals = np.empty(stop - start, np.uint16), np.empty(stop - start, np.int64)
        weights = np.asarray(self._weights, np.int64)
        for first in range(start, stop, _PIECE):
            turns = np.arange(first, min(first + _PIECE, stop), dtype=np.int64)
            into = slice(first - start, first - start + len(turns))
            rounds = turns // self._total
            turns -= rounds * self._total
            sources[into] = self._table[turns]
            ordinals[into] = rounds * weights[sources[into]] + self._ranks[turns]
        return sources, ordinals

    def drawn(self, turns: int) -> list[int]:
        """How often each source is drawn from in the first so many turns."""
        rounds, rest = divmod(turns, self._total)
        parts = np.bincount(self._table[:rest], minlength=len(self._weights)).tolist()
        return [rounds * weight + part for weight, part in zip(self._weights, parts, strict=True)]

    def _end(self, left: Sequence[int | None]) -> int | None:
        places = np.argsort(self._table, kind="stable")  # the turns of the first source, then those of the next
        counts = np.bincount(self._table, minlength=len(left))
        firsts = np.cumsum(counts) - counts
        ends = []
        for source, count in enumerate(left):
            if count is not None:
                rounds, rest = divmod(count - 1, self._weights[source])
                if rest < counts[source]:  # else the table ends before, where another source is used up
                    ends.append(rounds * self._total + int(places[firsts[source] + rest]) + 1)
        return min(ends, default=None)
