"""Schedules sources weighted by samples: turns are periodic, so a table of one period finds any position."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from curation.mixture.wf2q import Ints, compute_period, count_earlier_turns

_PIECE = 1 << 15  # positions looked up at a time, so that they stay in the processor's cache


class FixedSizeSchedule:
    """Holds the turns of a phase: from its start, where all sources have samples, until the first source has none.

    `left` is the number of draws that each source may still give; None: no limit.
    """

    def __init__(self, weights: Sequence[int], remaining: Sequence[int | None]) -> None:
        self._weights = tuple(weights)
        self._total = total = sum(weights)
        # the turns by which a source's last sample is over: see `curation.mixture.wf2q`
        ends = [
            -(-count * total // weight) for count, weight in zip(remaining, weights, strict=True) if count is not None
        ]
        self._table = compute_period(weights, min(ends, default=total))  # a short phase needs only a part
        self._ranks = count_earlier_turns(self._table, np.zeros(len(weights), np.int64)).astype(np.int32)
        self.end = self._find_end(remaining)
        """Turns until the first source is exhausted; None: never."""

    def take(self, start: int, stop: int) -> tuple[NDArray[np.uint16], Ints]:
        """Returns the source of each turn from `start` to `stop`, and how often it was drawn from before that turn."""
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

    def count_draws(self, turns: int) -> list[int]:
        """Returns how often each source is drawn from in the first `turns` turns."""
        rounds, rest = divmod(turns, self._total)
        parts = np.bincount(self._table[:rest], minlength=len(self._weights)).tolist()
        return [rounds * weight + part for weight, part in zip(self._weights, parts, strict=True)]

    def _find_end(self, remaining: Sequence[int | None]) -> int | None:
        places = np.argsort(self._table, kind="stable")  # the turns of the first source, then of the next
        counts = np.bincount(self._table, minlength=len(remaining))
        firsts = np.cumsum(counts) - counts
        ends = []
        for source, count in enumerate(remaining):
            if count is not None:
                rounds, rest = divmod(count - 1, self._weights[source])
                if rest < counts[source]:  # else the table ends earlier, because another source is exhausted
                    ends.append(rounds * self._total + int(places[firsts[source] + rest]) + 1)
        return min(ends, default=None)
