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
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

NEVER = 1 << 52
"""The tag behind a source's last sample: it is never over. All tags that come up, less their start, are smaller."""


def tags(units: NDArray[np.int64], weight: int, total: int) -> NDArray[np.int64]:
    """When a source whose first `units` were drawn has drawn its share `weight / total`, in units of all sources."""
    # in two parts: units * total could pass 64 bits
    rounded: NDArray[np.int64] = units // weight * total + (units % weight * total + weight - 1) // weight
    return rounded


def walk(spans: Sequence[Sequence[int]], sizes: Sequence[Sequence[int]], drawn: int, steps: int) -> list[int]:
    """The next `steps` turns, as indices of sources, when `drawn` units are drawn already.

    `spans` holds each source's tags from its next sample on, `sizes` the units of these samples.
    """
    turns = []
    places = [0] * len(spans)
    begun, over = [span[0] for span in spans], [span[1] for span in spans]
    sources = range(len(spans))
    for _ in range(steps):
        best, turn = NEVER, 0
        for source in sources:
            if over[source] < best and begun[source] <= drawn:
                best, turn = over[source], source
        place = places[turn]
        drawn += sizes[turn][place]
        places[turn] = place = place + 1
        begun[turn], over[turn] = best, spans[turn][place + 1]
        turns.append(turn)
    return turns


@lru_cache(maxsize=16)
def period(weights: tuple[int, ...]) -> NDArray[np.uint16]:
    """The turns of sources that are weighted by samples: after so many as the weights add up to, they begin again."""
    total = sum(weights)
    spans = []
    for weight in weights:
        ends = tags(np.arange(weight + 1, dtype=np.int64), weight, total)
        spans.append([*ends.tolist(), NEVER])
    turns = walk(spans, [[1] * (weight + 1) for weight in weights], 0, total)
    return np.asarray(turns, np.uint16)
