"""Implements WF2Q, the rule by which sources take turns; it keeps every source within one sample of its share.

WF2Q (Bennett and Zhang, 1996) is a packet scheduler; here every queue is always full. Sizes are in the unit of the
weights: 1 for a sample, or its tokens, or its images. Let source i have the share p = a / W of all units drawn, with a
and W whole numbers. If all sources were drawn from simultaneously, each at its own rate, then the sample that spans the
units [T, T + s) of its source would begin when W T / a units were drawn in all, and be over at W (T + s) / a. These
times, rounded up to whole numbers, are the source's *tags*: sample j spans tags[j] to tags[j + 1]. The rule: **among
the sources whose next sample has begun (tag <= D, the units drawn so far), draw from the one whose next sample is over
first** (if several, from the first of them in the recipe). One always exists: the T add up to D, so some T is at most
p D.

Let S be the units of the largest sample of all sources. Then |T - p D| < S after every draw:

- *Never too much.* A sample is drawn when T <= p D; after it, T + s - p (D + s) <= (1 - p) s < S.
- *Never too little.* Consider the draw of a sample that is over at F, rounded up. Let K, at D = t, be the last draw
  before it of a sample that is over after F; if there is none, set t = 0 and omit K. No other source had a sample that
  had begun at t and is over by F, or the rule would have drawn it; K's source has none left. So the samples drawn after
  K, up to and including ours, lie in (t, F] of the sources' own times: at most (1 - p_K) (F - t), less than F - t
  units. They are all drawn before t + S + (F - t) = F + S: in whole numbers by F + S - 1, which is below
  W (T + s) / a + S. So our draw starts at some D < W (T + s) / a + S - s, where p D < T + s + p (S - s) <= T + S.
  Until then T is constant and only p D grows.

Rounding tags up does not change the order, because D is whole. Samples of 0 units are drawn as soon as they have begun.
"""

from collections.abc import Sequence
from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def compute_tags(units: Ints, weights: Ints | int, total: int) -> Ints:
    """Returns the tags ceil(units * total / weights): the units of all sources drawn when a source is due `units`."""
    # in two parts, because units * total could overflow 64 bits
    rounded: Ints = units // weights * total + (units % weights * total + weights - 1) // weights
    return rounded


def walk(weights: Sequence[int], units: Sequence[int], sizes: Sequence[Sequence[int]], max_turns: int) -> list[int]:
    """Returns the next turns, as indices of sources, by a direct implementation of the rule.

    `units` were drawn of each source before. `sizes` are those of each source's next samples, at least one. Ends after
    `max_turns` turns, or with the first turn that draws a source's last sample.
    """
    total, drawn = sum(weights), sum(units)
    units, places = list(units), [0] * len(units)
    turns: list[int] = []
    waiting = [(-(-unit * total // weights[source]), source) for source, unit in enumerate(units)]
    heapify(waiting)
    begun: list[tuple[int, int]] = []
    while len(turns) < max_turns:
        while waiting and waiting[0][0] <= drawn:
            source = heappop(waiting)[1]
            over = -(-(units[source] + sizes[source][places[source]]) * total // weights[source])
            heappush(begun, (over, source))
        over, turn = heappop(begun)
        turns.append(turn)
        size = sizes[turn][places[turn]]
        drawn += size
        units[turn] += size
        places[turn] += 1
        if places[turn] == len(sizes[turn]):
            break
        heappush(waiting, (over, turn))
    return turns


def compute_period(weights: Sequence[int], max_turns: int) -> NDArray[np.uint16]:
    """Returns the turns of sources weighted by samples: one period, after which they repeat, or its first `max_turns`
    turns.

    With S = 1 a sample is drawn before it is over, which is when the next of its source begins. So no sample waits for
    its predecessor, and the tags of all can be computed in advance.
    """
    total = sum(weights)
    max_turns = min(max_turns, total)
    counts = (max_turns - 1) * np.asarray(weights, np.int64) // total + 1  # samples that begin before the last turn
    sources = np.repeat(np.arange(len(weights)), counts)
    samples = np.arange(len(sources)) - np.repeat(np.cumsum(counts) - counts, counts)
    begun, over = (compute_tags(samples + more, np.asarray(weights, np.int64)[sources], total) for more in (0, 1))
    order = np.argsort(begun, kind="stable")
    stamps = (over << 16 | sources)[order].tolist()
    ends = np.searchsorted(begun[order], np.arange(max_turns), "right").tolist()  # samples that have begun by each turn
    ready: list[int] = []
    turns, next_ = np.empty(max_turns, np.uint16), 0
    for turn, end in enumerate(ends):
        for stamp in stamps[next_:end]:
            heappush(ready, stamp)
        turns[turn] = heappop(ready) & 0xFFFF
        next_ = end
    return turns


def count_earlier_turns(turns: NDArray[np.uint16], drawn: Ints) -> Ints:
    """Returns for each turn how often its source was drawn from before; `drawn` are the draws before the first turn."""
    order = np.argsort(turns, kind="stable")
    counts = np.bincount(turns, minlength=len(drawn))
    ranked = np.empty(len(turns), np.int64)
    ranked[order] = np.arange(len(turns)) - np.repeat(np.cumsum(counts) - counts - drawn, counts)
    return ranked
