"""The rule of `rule.py` for a thousand stretches of the order at once, a turn of each per step.

numpy has no loop of its own that would follow the rule turn by turn. Side by side, the stretches (lanes) cost a
position some 30 to 40 ns with ten sources, thirty times less than one after another in Python.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from curation.mixture.rule import Ints, tags, walk

# Tags are counted from the least that is next, where all others are less than 2**52 ahead, as a sample takes less than
# 2**51 (see `FINEST`). Samples that begin further ahead are left out of a run; all others are over before `_NEVER`.
FINEST = 1 << 51
"""The most that the units of the largest sample times the sum of all weights may be."""

_FAR = 1 << 52
_NEVER = (1 << 53) - 1
_NOT_BEGUN = np.uint64(1 << 63)
_FEW = 8  # lanes below which walking on one after another is faster
_PIECE = 1 << 14  # rows filled at a time: they stay in the processor's cache


class Runs:
    """The samples that lanes draw from: of each source the next few, its run. Rows count through all runs."""

    def __init__(self, weights: Sequence[int], units: Sequence[int], sizes: Sequence[NDArray[np.int32]]) -> None:
        """`units` are those drawn of each source before its run, `sizes` those of the samples in it."""
        self.weights = weights
        starts = np.cumsum([0, *(len(run) + 2 for run in sizes)])
        self.firsts: Ints = starts[:-1]
        self.ends = np.empty_like(self.firsts)  # where runs have no sample left
        self.bits = len(weights).bit_length()
        # A row has a tag with its source's number below, so that the smallest names both, and the size of the sample
        # that ends a row before: when a sample is drawn, this one look-up tells its size and when the next is over.
        self.rows = np.zeros((int(starts[-1]), 2), np.uint64)
        self.units = np.zeros(int(starts[-1]), np.int64)  # drawn of the source before the row's sample
        total = sum(weights)
        self.start = min(-(-unit * total // weight) for unit, weight in zip(units, weights, strict=True))
        for source, (first, run, unit) in enumerate(zip(self.firsts.tolist(), sizes, units, strict=True)):
            inside = slice(first, first + len(run) + 2)
            drawn, rows = self.units[inside], self.rows[inside]
            drawn[0] = unit
            np.cumsum(run, out=drawn[1:-1])
            drawn[1:-1] += unit
            far = (self.start + _FAR - 1) * weights[source] // total
            count = int(np.searchsorted(drawn[:-2], far, "right"))
            self.ends[source] = first + count
            for at in range(0, count + 1, _PIECE):
                part = slice(at, min(at + _PIECE, count + 1))
                rows[part, 0] = tags(drawn[part], weights[source], total) - self.start << self.bits | source
            rows[count + 1, 0] = _NEVER << self.bits | source
            rows[2:, 1] = run

    def walked(self, places: Ints, most: int) -> Ints:
        """The rows that are next after so many turns from those of one lane, or where the first run has no more."""
        ranges = zip(places.tolist(), self.ends.tolist(), strict=True)
        sizes = [self.rows[row + 2 : min(row + most, end) + 2, 1].tolist() for row, end in ranges]
        turns = walk(self.weights, self.units[places].tolist(), sizes, most)
        return places + np.bincount(turns, minlength=len(places))


def advance(runs: Runs, places: Ints, turns: Ints, record: NDArray[np.uint16] | None = None) -> Ints:
    """Takes so many turns of each lane. `places`, sources x lanes, are the rows of the samples that are next.

    A lane that comes to the end of a run is put at the ends of all, and stays there. `record`, turns x lanes, receives
    the turns.
    """
    turns = np.where((places < runs.ends[:, None]).all(axis=0), turns, 0)
    if record is None and 0 < len(turns) < _FEW:
        moved = np.stack([runs.walked(lane, most) for lane, most in zip(places.T, turns.tolist(), strict=True)], axis=1)
        moved[:, (moved >= runs.ends[:, None]).any(axis=0)] = runs.ends[:, None]
        return moved
    order = np.argsort(-turns, kind="stable")  # those that are done first come last: the rest is narrowed down to
    at = np.ascontiguousarray(places[:, order])
    lanes = at.shape[1]
    widths = np.searchsorted(-turns[order], -np.arange(turns.max(initial=0)))
    drawn = (runs.units[at].sum(axis=0) - runs.start).astype(np.uint64)
    begun, over = runs.rows[at, 0] >> np.uint64(runs.bits), runs.rows[at + 1, 0]
    keys, lane = np.empty_like(begun), np.arange(lanes)
    least, bits, last = np.empty(lanes, np.uint64), np.uint64(runs.bits), np.uint64((1 << runs.bits) - 1)
    flat_at, flat_begun, flat_over = at.ravel(), begun.ravel(), over.ravel()
    for step, width in enumerate(widths.tolist()):
        key, best, done = keys[:, :width], least[:width], drawn[:width]
        np.subtract(done, begun[:, :width], out=key)  # less than nothing, which sets the first bit, where not begun
        key &= _NOT_BEGUN
        key |= over[:, :width]
        np.minimum.reduce(key, axis=0, out=best)
        source = (best & last).view(np.int64)
        if record is not None:
            record[step, order[:width]] = source
        turn = source * lanes
        turn += lane[:width]
        place = flat_at.take(turn)
        place += 1
        found = runs.rows.take(place + 1, axis=0, mode="clip")
        done += found[:, 1]
        flat_at[turn], flat_begun[turn], flat_over[turn] = place, best >> bits, found[:, 0]
    moved = np.empty_like(places)
    moved[:, order] = at
    moved[:, (moved >= runs.ends[:, None]).any(axis=0)] = runs.ends[:, None]
    return moved
