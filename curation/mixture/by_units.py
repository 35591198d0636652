"""The turns of sources weighted by tokens or images: they hang on every sample's size, so all are gone through once.

That pass keeps where it stands every few hundred turns; any position is then a search and a short walk away. It cuts
the order into stretches and follows them all at once (`lanes.py`). Where a stretch begins isn't known before the one
ahead of it is done, but the rule forgets: started a little earlier from about where it must be, it falls into the very
same turns. So each stretch is begun that way, and those that are found not to begin where the one ahead ended are gone
through again. What comes out is the rule's order, turn for turn, however it was cut.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.mixture.lanes import Ints, Lanes, Spans, advance
from curation.mixture.rule import NEVER, tags, walk
from curation.mixture.shuffle import Shuffle

_TOGETHER = 2048  # stretches looked up at a time
_FEW = 16  # stretches below which walking one after another is faster


@dataclass(frozen=True)
class Cut:
    """How the first pass is cut up; what comes out is the same for any."""

    lanes: int = 1024  # more, and their state leaves the processor's cache
    stretch: int = 4096  # turns of a lane, about
    # Turns before a stretch. With twelve sources one lane in five begins with other turns after that, and is followed
    # again for the turns of its head.
    run_up: int = 256
    head: int = 512


_CUT = Cut()


@dataclass(frozen=True)
class Draws:
    """What a source has to give from here on."""

    units: NDArray[np.integer[Any]]  # of each of its samples
    mean: float  # of them; only how the work is cut hangs on it
    shuffle: Shuffle
    first: int  # how often it was drawn from before
    left: int | None  # draws; None: as many as are asked for
    weight: int

    def sizes(self, first: int, stop: int) -> Ints:
        """The units of the draws from `first` to `stop`, counted from here."""
        return self.units[self.shuffle.samples(np.arange(self.first + first, self.first + stop))].astype(np.int64)

    def until(self, draws: int) -> int:
        """So many draws, or what is left."""
        return draws if self.left is None else min(draws, self.left)


@dataclass
class _State:
    """Turns taken; of each source the samples and units drawn."""

    turns: int
    counts: Ints
    units: Ints


class ByUnits:
    """The turns from where all sources have samples left until the first has none, or for `most` and a bit more."""

    def __init__(self, sources: Sequence[Draws], most: int | None = None, cut: Cut = _CUT) -> None:
        self._sources = sources
        self._cut = cut
        self._total = sum(source.weight for source in sources)
        self._units_a_turn = _units_a_turn(sources)
        kept: list[tuple[Ints, Ints, Ints]] = []
        zeros = np.zeros(len(sources), np.int64)
        state, spent = _State(0, zeros, zeros), False
        while not spent and (most is None or state.turns < most):
            ahead = self._turns_ahead(state) if most is None else min(self._turns_ahead(state), most - state.turns)
            state, spent = self._batch(state, int(min(cut.lanes, ahead // cut.stretch + 1)), kept)
        self._turns, self._counts, self._units = (np.concatenate(parts) for parts in zip(*kept, strict=True))
        self._last = state
        self.end: int | None = state.turns if spent else None
        """Turns until a source is used up; None: not within `most`."""

    def take(self, start: int, stop: int) -> tuple[NDArray[np.uint16], Ints]:
        """The sources that have the turns from `start` to `stop`, and how often each was drawn from before."""
        sources, ordinals = np.empty(stop - start, np.uint16), np.empty(stop - start, np.int64)
        low, high = (int(np.searchsorted(self._turns, turn, "right")) - 1 for turn in (start, max(start, stop - 1)))
        for first in range(low, high + 1, _TOGETHER):
            behind = min(first + _TOGETHER, high + 1)
            turns, begin = self._follow(first, behind), int(self._turns[first])
            drawn = _ranks(turns, self._counts[first])
            inside = slice(max(start - begin, 0), stop - begin)
            into = slice(begin + inside.start - start, min(begin + len(turns), stop) - start)
            sources[into], ordinals[into] = turns[inside], drawn[inside]
        return sources, ordinals

    def drawn(self, turns: int) -> list[int]:
        """How often each source is drawn from in the first so many turns."""
        if turns == self._last.turns:
            return [int(count) for count in self._last.counts]
        first = int(np.searchsorted(self._turns, turns, "right")) - 1
        part = self._follow(first, first + 1)[: turns - int(self._turns[first])]
        counts = self._counts[first] + np.bincount(part, minlength=len(self._sources))
        return [int(count) for count in counts]

    def _follow(self, first: int, stop: int) -> NDArray[np.uint16]:
        """The turns between two of the states that were kept."""
        behind = self._kept(stop)
        lengths = np.diff(np.append(self._turns[first:stop], behind.turns))
        base = int(self._units[first].sum())
        spans, sizes = [], []
        ranges = [
            (int(a), source.until(int(b) + 1))
            for source, a, b in zip(self._sources, self._counts[first], behind.counts, strict=True)
        ]
        for number, part in enumerate(_load(self._sources, ranges)):
            spans.append(self._tags(number, int(self._units[first, number]), part) - base)
            sizes.append(part)
        if stop - first < _FEW:
            turns: list[int] = []
            for state, length in zip(range(first, stop), lengths.tolist(), strict=True):
                places = (self._counts[state] - self._counts[first]).tolist()
                near = [slice(place, place + length + 2) for place in places]
                begun = [[*span[part].tolist(), NEVER] for span, part in zip(spans, near, strict=True)]
                units = [size[part].tolist() for size, part in zip(sizes, near, strict=True)]
                turns += walk(begun, units, int(self._units[state].sum()) - base, length)
            return np.asarray(turns, np.uint16)
        runs = Spans(spans, sizes, ending=False)  # a lane has its turns before it is past the end
        places = (self._counts[first:stop] - self._counts[first] + runs.firsts).T
        record = np.empty((stop - first, int(lengths.max()) + 64), np.uint16)
        advance(runs, Lanes(places, self._units[first:stop].sum(axis=1) - base, lengths), turns=lengths, record=record)
        return record[np.arange(record.shape[1]) < lengths[:, None]]

    def _kept(self, index: int) -> _State:
        if index == len(self._turns):
            return self._last
        return _State(int(self._turns[index]), self._counts[index], self._units[index])

    def _tags(self, source: int, drawn: int, sizes: Ints) -> Ints:
        ends = np.empty(len(sizes) + 1, np.int64)
        ends[0] = drawn
        np.cumsum(sizes, out=ends[1:])
        ends[1:] += drawn
        return tags(ends, self._sources[source].weight, self._total)

    def _batch(self, state: _State, lanes: int, kept: list[tuple[Ints, Ints, Ints]]) -> tuple[_State, bool]:
        """Follows the next stretches; keeps their states; returns the one behind, and whether a source is used up."""
        base, stretch = int(state.units.sum()), max(1, round(self._units_a_turn * self._cut.stretch))
        numbers = range(len(self._sources))
        with ThreadPoolExecutor() as pool:  # numpy lets go of the interpreter while it looks sizes up
            sizes = list(pool.map(lambda number: self._ahead(number, state, base + lanes * stretch), numbers))
        spans = [self._tags(number, int(state.units[number]), sizes[number]) - base for number in numbers]
        ending = any(
            source.left == count + len(part)
            for source, count, part in zip(self._sources, state.counts, sizes, strict=True)
        )
        runs = Spans(spans, sizes, ending)
        begins = np.arange(lanes, dtype=np.int64) * stretch
        drawn_at = [np.concatenate([[0], np.cumsum(part)]) for part in sizes]
        starts = _guessed(spans, drawn_at, begins - round(self._units_a_turn * self._cut.run_up))
        starts.places[:, 0], starts.drawn[0] = 0, 0  # the first is known
        starts.places += runs.firsts[:, None]
        heads = begins + min(stretch, round(self._units_a_turn * self._cut.head))
        followed = _chained(runs, advance(runs, starts, until=begins), heads, begins + stretch)
        # the first lane in which a source came to its end is the last that counts
        ended = (followed.places >= runs.lasts[:, None]).any(axis=0)
        count = int(np.argmax(ended)) + 1 if ended.any() else lanes
        offsets = state.turns + np.concatenate([[0], np.cumsum(followed.turns[:count])])
        turns, places = [], []
        for lane, turn, place in followed.snapshots:
            valid = lane < count
            turns.append(offsets[lane[valid]] + turn[valid])
            places.append(place[:, valid])
        at, order = np.unique(np.concatenate(turns), return_index=True)
        counted = np.concatenate(places, axis=1)[:, order] - runs.firsts[:, None]
        kept.append((at, counted.T + state.counts, self._units_at(counted, drawn_at) + state.units))
        final = followed.places[:, count - 1 : count] - runs.firsts[:, None]
        behind = _State(
            int(offsets[count]), final[:, 0] + state.counts, self._units_at(final, drawn_at)[0] + state.units
        )
        return behind, bool(ended.any())

    def _turns_ahead(self, state: _State) -> float:
        """About how many turns are left until a source is used up, so that not much more is read."""
        turns = [
            max(0.0, source.left * source.mean - units) * self._total / source.weight / self._units_a_turn
            for source, units in zip(self._sources, state.units.tolist(), strict=True)
            if source.left is not None
        ]
        return min(turns, default=inf)

    def _units_at(self, places: Ints, drawn_at: Sequence[Ints]) -> Ints:
        return np.stack([drawn[place] for drawn, place in zip(drawn_at, places, strict=True)], axis=1)

    def _ahead(self, number: int, state: _State, until: int) -> Ints:
        """The units of a source's next draws, to where none can have begun by `until`, or to its end."""
        source, first = self._sources[number], int(state.counts[number])
        wanted = until * source.weight // self._total + 1 - int(state.units[number])  # then its tag is behind `until`
        parts, have, got = [np.zeros(0, np.int64)], first, 0
        while got < wanted and have < source.until(have + 1):
            stop = source.until(have + int((wanted - got) / source.mean * 1.02) + 64)
            parts.append(source.sizes(have, stop))
            have, got = stop, got + int(parts[-1].sum())
        if have < source.until(have + 1):
            parts.append(source.sizes(have, have + 1))
        return np.concatenate(parts)


def _chained(runs: Spans, begun: Lanes, heads: Ints, until: Ints) -> Lanes:
    """Follows lanes that begin about right, until each begins where the one ahead of it ended.

    One that began wrong is followed again as far as `heads`; by then, nearly always, it is where it was before.
    """
    head = advance(runs, begun, until=heads)
    tail = advance(runs, head, until=until)
    every = np.arange(len(until))
    while True:
        ended = (tail.places >= runs.lasts[:, None]).any(axis=0)
        count = int(np.argmax(ended)) + 1 if ended.any() else len(until)
        wrong = 1 + np.flatnonzero((begun.places[:, 1:count] != tail.places[:, : count - 1]).any(axis=0))
        if not wrong.size:
            break
        begun.places[:, wrong], begun.drawn[wrong] = tail.places[:, wrong - 1], tail.drawn[wrong - 1]
        again = advance(runs, _some(begun, wrong), until=heads[wrong])
        astray = wrong[(again.places != head.places[:, wrong]).any(axis=0)]
        _replace(head, wrong, again)
        if astray.size:
            _replace(tail, astray, advance(runs, _some(head, astray), until=until[astray]))
    starts = [(every, np.zeros_like(until), begun.places), (every, head.turns, head.places)]
    behind = [(lane, turn + head.turns[lane], place) for lane, turn, place in tail.snapshots]
    return Lanes(tail.places, tail.drawn, head.turns + tail.turns, [*starts, *head.snapshots, *behind])


def _some(lanes: Lanes, which: Ints) -> Lanes:
    return Lanes(lanes.places[:, which], lanes.drawn[which], lanes.turns[which])


def _replace(lanes: Lanes, which: Ints, by: Lanes) -> None:
    """Puts other lanes, with their snapshots, in the place of some."""
    lanes.places[:, which], lanes.drawn[which], lanes.turns[which] = by.places, by.drawn, by.turns
    kept = np.ones(len(lanes.drawn), np.bool_)
    kept[which] = False
    lanes.snapshots = [
        *((lane[kept[lane]], turn[kept[lane]], place[:, kept[lane]]) for lane, turn, place in lanes.snapshots),
        *((which[lane], turn, place) for lane, turn, place in by.snapshots),
    ]


def _guessed(spans: Sequence[Ints], drawn_at: Sequence[Ints], times: Ints) -> Lanes:
    """About where the rule stands at these times: each source at its first sample that had not begun."""
    places = np.stack([np.minimum(np.searchsorted(span, times), len(span) - 1) for span in spans])
    drawn = sum((at[place] for at, place in zip(drawn_at, places, strict=True)), np.zeros(len(times), np.int64))
    return Lanes(places, drawn, np.zeros(len(times), np.int64))


def _load(sources: Sequence[Draws], ranges: Sequence[tuple[int, int]]) -> list[Ints]:
    """The units of these draws of each source; of few draws, with one shuffle for all sources."""
    counts = [stop - first for first, stop in ranges]
    if sum(counts) > 1 << 13:
        return [source.sizes(*bounds) for source, bounds in zip(sources, ranges, strict=True)]
    together = Shuffle(
        np.repeat([source.shuffle.length for source in sources], counts),
        np.repeat(np.asarray([source.shuffle.key for source in sources], np.uint64), counts),
    )
    ordinals = [np.arange(s.first + first, s.first + stop) for s, (first, stop) in zip(sources, ranges, strict=True)]
    samples = np.split(together.samples(np.concatenate(ordinals)), np.cumsum(counts)[:-1])
    return [source.units[part].astype(np.int64) for source, part in zip(sources, samples, strict=True)]


def _ranks(turns: NDArray[np.uint16], counts: Ints) -> Ints:
    """For each turn, how often its source was drawn from before, when it was `counts` times before the first."""
    ranks = np.empty(len(turns), np.int64)
    for source, count in enumerate(counts):
        places = np.flatnonzero(turns == source)
        ranks[places] = np.arange(count, count + len(places))
    return ranks


def _units_a_turn(sources: Sequence[Draws]) -> float:
    """The mean size of what is drawn."""
    total = sum(source.weight for source in sources)
    return 1 / sum(source.weight / total / source.mean for source in sources)
