"""The rule of `rule.py` for thousands of stretches of the order at once, a turn of each per step.

numpy has no loop of its own that would follow the rule turn by turn. Side by side, the stretches (lanes) cost a
position 50 to 60 ns with ten sources, twenty times less than one after another in Python.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from curation.mixture.rule import NEVER

_STEPS = 64  # between clearing away the lanes that are done
_SNAPSHOT = 256  # turns; twice as many would halve what is kept, and double what is walked to find a position

Ints = NDArray[np.int64]


class Spans:
    """The samples that lanes draw from: of each source, a run of its order. Places count through all runs."""

    def __init__(self, spans: Sequence[Ints], sizes: Sequence[Ints], ending: bool = True) -> None:
        """A run of n samples has n + 1 tags, less where the batch starts, and n sizes.

        `ending` says that lanes may come to a run's end.
        """
        self.ending = ending
        count = len(spans)
        self.sources = count
        self.bits = count.bit_length()
        self.never = NEVER << self.bits | count
        starts = np.cumsum([0, *(len(span) + 1 for span in spans)])
        self.firsts: Ints = starts[:-1]
        self.lasts: Ints = starts[1:] - 2
        self.idle = int(starts[-1])  # where lanes that are done draw nothing from
        self.tags = np.full(self.idle + _STEPS + 2, self.never, np.int64)  # tag, then source: the smallest names both
        self.sizes = np.zeros(self.idle + _STEPS + 2, np.int64)
        for source, (first, span, size) in enumerate(zip(self.firsts, spans, sizes, strict=True)):
            self.tags[first : first + len(span)] = np.minimum(span, NEVER - 1) << self.bits | source
            self.sizes[first : first + len(size)] = size


@dataclass
class Lanes:
    """Where lanes stand. `places` is sources x lanes; `drawn` the units drawn, less where the batch starts."""

    places: Ints
    drawn: Ints
    turns: Ints
    snapshots: list[tuple[Ints, Ints, Ints]] = field(default_factory=list)
    """Now and then: lanes, their turns, their places."""


def advance(
    spans: Spans,
    lanes: Lanes,
    until: Ints | None = None,
    turns: Ints | None = None,
    record: NDArray[np.uint16] | None = None,
) -> Lanes:
    """Moves lanes on until so many units are drawn, or so many turns taken, or a source's run is at its end.

    `record` (lanes x turns, and 64 more) receives the turns, with anything behind them. Snapshots come every 256 turns.
    """
    at = Lanes(lanes.places.copy(), lanes.drawn.copy(), np.zeros_like(lanes.drawn))
    until = np.full_like(at.drawn, 1 << 62) if until is None else until
    turns = np.full_like(at.drawn, 1 << 62) if turns is None else turns
    spent = (at.places >= spans.lasts[:, None]).any(axis=0)
    live = np.flatnonzero((at.drawn < until) & (turns > 0) & ~spent)
    taken = 0
    while live.size:
        done = _steps(spans, at, live, until[live], turns[live], taken, record)
        taken += _STEPS
        live = live[~done]
        at.turns[live] = taken
        if taken % _SNAPSHOT == 0 and live.size:
            at.snapshots.append((live, at.turns[live], at.places[:, live]))
    return at


def _steps(
    spans: Spans, at: Lanes, live: Ints, until: Ints, turns: Ints, taken: int, record: NDArray[np.uint16] | None
) -> NDArray[np.bool_]:
    """Takes 64 turns of the lanes `live`; says which are done."""
    count, width = spans.sources, live.size
    places = np.empty((count + 1, width), np.int64)
    begun, over = np.zeros_like(places), np.full_like(places, spans.never)
    places[:count], places[count] = at.places[:, live], spans.idle
    begun[:count], over[:count] = spans.tags[places[:count]] >> spans.bits, spans.tags[places[:count] + 1]
    drawn, done, lane = at.drawn[live], np.zeros(width, np.bool_), np.arange(width)
    last, fewest = (1 << spans.bits) - 1, int(turns.min())
    turns_taken = None if record is None else np.zeros((_STEPS, width), np.uint16)
    flat_places, flat_begun, flat_over = places.ravel(), begun.ravel(), over.ravel()
    for step in range(taken + 1, taken + _STEPS + 1):
        best = np.where(begun[:count] <= drawn, over[:count], spans.never).min(axis=0)
        source = best & last
        if turns_taken is not None:
            turns_taken[step - taken - 1] = source
        turn = source * width
        turn += lane
        place = flat_places[turn]
        drawn += spans.sizes[place]
        place += 1
        tag = spans.tags[place + 1]
        flat_places[turn], flat_begun[turn], flat_over[turn] = place, best >> spans.bits, tag
        ready = drawn >= until
        if step >= fewest:
            ready |= turns <= step
        if spans.ending:
            ready |= tag == spans.never
        if ready.any():
            ready &= ~done
            which = np.flatnonzero(ready)
            _settle(at, live[which], places[:count, which], drawn[which], step)
            drawn[which] = -NEVER << 4  # nothing has begun: from here on the lane idles
            done |= ready
            if done.all():
                break
    if record is not None and turns_taken is not None:
        record[live, taken : taken + _STEPS] = turns_taken.T
    still = np.flatnonzero(~done)
    _settle(at, live[still], places[:count, still], drawn[still], taken + _STEPS)
    return done


def _settle(at: Lanes, lanes: Ints, places: Ints, drawn: Ints, turns: int) -> None:
    at.places[:, lanes], at.drawn[lanes], at.turns[lanes] = places, drawn, turns
