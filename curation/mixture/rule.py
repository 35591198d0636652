"""The rule by which sources take turns, and why no source is ever a whole sample away from its share.

Sizes count what the weights count: 1 for a sample, or its tokens, or its images. Let source i have the share p of all
that is drawn, a / W in whole numbers. Were every source drawn from at once, each at its own rate, its sample that
spans [T, T + s) of its units would begin when W T / a units were drawn in all and be over at W (T + s) / a. These
times, rounded up to whole numbers, are the source's *tags*: sample j spans tags[j] to tags[j + 1]. The rule: **of the
sources whose next sample has begun (tag <= D, the units drawn so far), draw from the one whose next sample is over
first** (the first such source in the recipe, if several). There always is one: the T add up to D, so some T is at most
p D.

This is the packet scheduler WF2Q (Bennett and Zhang, 1996) with every queue full. With S the units of the largest
sample of all sources, |T - p D| < S after every draw:

- *Never too much.* A sample is drawn when T <= p D; after it, T + s - p (D + s) <= (1 - p) s < S.
- *Never too little.* Take the draw of a sample that is over at F, rounded up. Let K, at D = t, be the last draw before
  it of a sample that is over after F; if there is none, put t = 0 and leave K out. Of the other sources, no sample that
  is over by F had begun at t, or it would have been taken; K's source has none left. So what is drawn after K, up to
  and with our sample, lies in (t, F] of the sources' own times: at most (1 - p_K) (F - t), less than F - t units. It
  is all drawn before t + S + (F - t) = F + S: in whole numbers by F + S - 1, and that is below W (T + s) / a + S. So
  our draw starts at some D < W (T + s) / a + S - s, where p D < T + s + p (S - s) <= T + S. Until then T stays and
  only p D grows.

Rounding tags up does no harm, as D is whole. Samples of 0 units are drawn as soon as they have begun.
"""

from collections.abc import Sequence
from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def tags(units: Ints, weights: Ints | int, total: int) -> Ints:
    """When sources whose first `units` were drawn have drawn their share `weights / total`, in units of all sources."""
    # in two parts: units * total could pass 64 bits
    rounded: Ints = units // weights * total + (units % weights * total + weights - 1) // weights
    return rounded


def walk(weights: Sequence[int], units: Sequence[int], sizes: Sequence[Sequence[int]], most: int) -> list[int]:
    """The next turns, as indices of sources, when these units of each are drawn already: the rule as it is stated.

    `sizes` are those of each source's next samples, one at least. Ends after `most` turns, or with the first of them
    that leaves its source none.
    """
    total, drawn = sum(weights), sum(units)
    units, places = list(units), [0] * len(units)
    turns: list[int] = []
    waiting = [(-(-unit * total // weights[source]), source) for source, unit in enumerate(units)]
    heapify(waiting)
    begun: list[tuple[int, int]] = []
    while len(turns) < most:
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


def period(weights: Sequence[int], most: int) -> NDArray[np.uint16]:
    """The turns of sources that are weighted by samples: all, after which they begin again, or the first `most`.

    With S = 1 a sample is drawn before it is over, when the next of its source begins. So none waits for the one ahead
    of it, and all are laid out beforehand.
    """
    total = sum(weights)
    most = min(most, total)
    counts = (most - 1) * np.asarray(weights, np.int64) // total + 1  # that begin before the last turn
    sources = np.repeat(np.arange(len(weights)), counts)
    samples = np.arange(len(sources)) - np.repeat(np.cumsum(counts) - counts, counts)
    begun, over = (tags(samples + more, np.asarray(weights, np.int64)[sources], total) for more in (0, 1))
    order = np.argsort(begun, kind="stable")
    stamps = (over << 16 | sources)[order].tolist()
    ends = np.searchsorted(begun[order], np.arange(most), "right").tolist()  # of those that have begun
    ready: list[int] = []
    turns, next_ = np.empty(most, np.uint16), 0
    for turn, end in enumerate(ends):
        for stamp in stamps[next_:end]:
            heappush(ready, stamp)
        turns[turn] = heappop(ready) & 0xFFFF
        next_ = end
    return turns


def ranks(turns: NDArray[np.uint16], drawn: Ints) -> Ints:
    """For each turn, how often its source was drawn from before, when it was `drawn` times before the first."""
    order = np.argsort(turns, kind="stable")
    counts = np.bincount(turns, minlength=len(drawn))
    ranked = np.empty(len(turns), np.int64)
    ranked[order] = np.arange(len(turns)) - np.repeat(np.cumsum(counts) - counts - drawn, counts)
    return ranked
