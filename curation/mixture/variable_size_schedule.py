"""Schedules sources weighted by tokens or images by WF2Q (`curation.mixture.wf2q`), with access to any position.

The turns depend on the size of every sample, so a first pass goes through all samples once. It records its state (a
mark) every few hundred turns; any position is then found by a search and a short walk from a mark. The pass splits the
order into lanes of consecutive turns and advances all lanes at once (`curation.mixture.lanes`). The state at which a
lane begins is known only when the lane before it is done. But the rule forgets its past: started some turns earlier
from an approximate state, it converges to exactly the same turns. So each lane starts in that way. Lanes that turn out
not to begin where the previous lane ended are repeated, until they reach a state that was recorded before. The result
is exactly the rule's order, however the pass was split.
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.mixture.lanes import TagTable, advance
from curation.mixture.shuffle import Shuffle
from curation.mixture.wf2q import Ints, count_earlier_turns, walk
from schemas.errors import UsageError

_PIECE = 1 << 16  # sizes looked up at a time, so that they stay in the processor's cache
_MARKS_PER_STEP = 2048  # marks advanced at a time
_MAX_MARKS_TO_WALK = 8  # up to this number of marks, walking turn by turn is faster
_MAX_TURNS = 1 << 34  # turns of a pass: they take half an hour and 10 GB of marks


@dataclass(frozen=True)
class PassChunking:
    """Says how to split the first pass. The result does not depend on it."""

    chunk_turns: int = 1 << 22  # processed together, approximately; about 40 bytes each
    marks_per_lane: int = 8  # per lane
    turns_per_mark: int = 256  # turns between marks, approximately; more for many sources, whose marks take more memory
    warm_up_turns: int = 128  # turns before a lane, in which it converges


@dataclass(frozen=True)
class SourceQueue:
    """Describes the draws that a source can still give."""

    units: NDArray[np.integer[Any]] | None  # the units of each of its samples; None: 1 each
    mean: float  # of the units; only the split of the work depends on it
    shuffle: Shuffle
    drawn_before: int  # how often it was drawn from before
    remaining: int | None  # draws; None: no limit
    weight: int

    def look_up_sizes(self, first: int, stop: int) -> NDArray[np.int32]:
        """Returns the units of the draws from `first` to `stop`, where 0 is the next draw."""
        sizes = np.ones(max(0, stop - first), np.int32)
        if self.units is None:
            return sizes
        for piece in range(first, stop, _PIECE):
            ordinals = np.arange(piece, min(piece + _PIECE, stop), dtype=np.int64) + self.drawn_before
            sizes[piece - first : piece - first + len(ordinals)] = self.units[self.shuffle.permute(ordinals)]
        return sizes

    def limit_draws(self, draws: int) -> int:
        """Returns `draws`, or the number of draws left if that is less."""
        return draws if self.remaining is None else min(draws, self.remaining)


class VariableSizeSchedule:
    """Holds the turns of a phase: until the first source has no samples left, or for slightly more than `most` turns.

    Raises `UsageError` if more than `_MAX_TURNS` turns are needed.
    """

    def __init__(
        self, sources: Sequence[SourceQueue], max_turns: int | None = None, chunking: PassChunking | None = None
    ) -> None:
        self._sources = sources
        self._weights = [source.weight for source in sources]
        chunking = chunking or PassChunking(turns_per_mark=max(PassChunking.turns_per_mark, 8 * len(sources)))
        counts, units = [np.zeros((1, len(sources)), np.int64)], [np.zeros((1, len(sources)), np.int64)]
        rates = np.asarray([source.weight / source.mean for source in sources])
        rates /= rates.sum()  # average draws per turn
        with ThreadPoolExecutor() as pool:
            ahead = [_SizePrefetcher(source, pool) for source in sources]
            while (
                left := min(source.remaining / rate for source, rate in zip(ahead, rates.tolist(), strict=True))
            ) > 0:
                if max_turns is not None:
                    left = min(left, max_turns - int(counts[-1][-1].sum()))
                if left > _MAX_TURNS:
                    raise UsageError(f"mixture: about {left:.1e} samples to plan, too many: stop sooner")
                if left <= 0:
                    break
                draws = min(chunking.chunk_turns, left) * rates
                draws = (draws + 4 * np.sqrt(draws) + 1).astype(np.int64)  # a margin, because sizes vary
                sizes = [
                    a.peek_sizes(count, left > chunking.chunk_turns)
                    for a, count in zip(ahead, draws.tolist(), strict=True)
                ]
                drawn, reached = compute_marks(TagTable(self._weights, units[-1][-1].tolist(), sizes), chunking)
                counts.append(counts[-1][-1] + drawn)
                units.append(reached)
                for source, moved in zip(ahead, drawn[-1].tolist(), strict=True):
                    source.advance(moved)
        self._counts = np.concatenate(counts)
        counts.clear()  # in large plans, memory use peaks here
        self._units = np.concatenate(units)
        self._turns = self._counts.sum(axis=1)
        self.end = int(self._turns[-1]) if any(source.remaining == 0 for source in ahead) else None
        """Turns until the first source is exhausted; None: not within `max_turns`."""

    def take(self, start: int, stop: int) -> tuple[NDArray[np.uint16], Ints]:
        """Returns the source of each turn from `start` to `stop`, and how often it was drawn from before that turn."""
        low = int(np.searchsorted(self._turns, start, "right")) - 1
        high = int(np.searchsorted(self._turns, stop))
        sources, ordinals = np.empty(stop - start, np.uint16), np.empty(stop - start, np.int64)
        for first in range(low, high, _MARKS_PER_STEP):
            turns = self._replay_turns(first, min(first + _MARKS_PER_STEP, high), stop)
            drawn, begin = count_earlier_turns(turns, self._counts[first]), int(self._turns[first])
            inside = slice(max(start - begin, 0), stop - begin)
            into = slice(begin + inside.start - start, min(begin + len(turns), stop) - start)
            sources[into], ordinals[into] = turns[inside], drawn[inside]
        return sources, ordinals

    def count_draws(self, turns: int) -> list[int]:
        """Returns how often each source is drawn from in the first `turns` turns."""
        mark = int(np.searchsorted(self._turns, turns, "right")) - 1
        counts = self._counts[mark]
        if turns > self._turns[mark]:
            counts = counts + np.bincount(self._replay_turns(mark, mark + 1, turns), minlength=len(counts))
        return [int(count) for count in counts]

    def _replay_turns(self, first: int, last: int, stop: int) -> NDArray[np.uint16]:
        """Returns the turns from mark `first` to mark `last`; if these are few marks, only up to `stop`."""
        begin, end = self._counts[first], self._counts[last]
        sizes = _look_up_sizes(self._sources, begin.tolist(), end.tolist())
        if last - first <= _MAX_MARKS_TO_WALK:
            turns = min(stop, int(self._turns[last])) - int(self._turns[first])
            listed = [part.tolist() for part in sizes]
            return np.asarray(walk(self._weights, self._units[first].tolist(), listed, turns), np.uint16)
        runs = TagTable(self._weights, self._units[first].tolist(), sizes)
        places = (self._counts[first:last] - begin + runs.first_rows).T
        lengths = np.diff(self._turns[first : last + 1])
        record = np.empty((int(lengths.max()), last - first), np.uint16)
        advance(runs, places, lengths, record)
        inside: NDArray[np.bool_] = np.arange(len(record)) < lengths[:, None]
        return record.T[inside]


class _SizePrefetcher:
    """Looks up the sizes of a source's next samples, and prefetches the following ones in a thread."""

    def __init__(self, source: SourceQueue, pool: ThreadPoolExecutor) -> None:
        self._source, self._pool = source, pool
        self._count = 0
        self._sizes = np.zeros(0, np.int32)
        self._behind: Future[NDArray[np.int32]] | None = None

    @property
    def remaining(self) -> float:
        """The number of draws left; infinite without a limit."""
        return inf if self._source.remaining is None else self._source.remaining - self._count

    def peek_sizes(self, draws: int, prefetch: bool) -> NDArray[np.int32]:
        """Returns the sizes of the next `draws` draws, or of those left. `prefetch`: prefetch as many more."""
        parts = [self._sizes] if self._behind is None else [self._sizes, self._behind.result()]
        have, stop = self._count + sum(map(len, parts)), self._source.limit_draws(self._count + draws)
        parts.append(self._source.look_up_sizes(have, stop))
        self._sizes = np.concatenate(parts)
        have = max(have, stop)
        more = self._source.limit_draws(have + draws)
        self._behind = self._pool.submit(self._source.look_up_sizes, have, more) if prefetch and more > have else None
        return self._sizes[: stop - self._count]

    def advance(self, draws: int) -> None:
        """Moves on by `draws` draws."""
        self._count += draws
        self._sizes = self._sizes[draws:]


def compute_marks(table: TagTable, chunking: PassChunking) -> tuple[Ints, Ints]:
    """Applies the rule to these runs and returns its state at marks.

    The two arrays, shape [marks, sources], are the draws from each source and the units drawn of each source. The last
    mark is where the first run is exhausted, or shortly before.
    """
    begins = _guess_lane_starts(table, chunking)
    lengths = np.diff(
        begins.sum(axis=0), append=begins[:, -1].sum() + chunking.marks_per_lane * chunking.turns_per_mark
    )
    states = _trace_lanes(table, begins, lengths, chunking.marks_per_lane)
    places = np.concatenate([states[:-1].transpose(2, 0, 1).reshape(-1, len(begins)), states[-1, :, -1:].T])
    good = (places < table.end_rows).all(axis=1)
    places = places[good]
    if not good.all():
        left = int(lengths.max()) // chunking.marks_per_lane + 2  # an upper bound of the turns between two marks
        places = np.concatenate([places, table.walk_lane(places[-1], left)[None]])
    return places - table.first_rows, table.units[places]


def _guess_lane_starts(table: TagTable, chunking: PassChunking) -> Ints:
    """Returns the approximate state at which each lane begins, shape [sources, lanes]; that of the first is exact."""
    each = max(1, chunking.turns_per_mark // 4)
    begun = [
        table.rows[first:end, 0] >> np.uint64(table.bits)
        for first, end in zip(table.first_rows, table.end_rows, strict=True)
    ]
    times = np.sort(np.concatenate([times[each - 1 :: each] for times in begun]))
    times = times[4 * chunking.marks_per_lane - 1 :: 4 * chunking.marks_per_lane]
    times = times[times < min(time[-1] for time in begun)]
    places = [
        first + np.searchsorted(time, times, "right") for first, time in zip(table.first_rows, begun, strict=True)
    ]
    guessed = advance(table, np.stack(places), np.full(len(times), chunking.warm_up_turns))
    good = (guessed < table.end_rows[:, None]).all(axis=0)
    return np.concatenate([table.first_rows[:, None], guessed[:, good]], axis=1)


def _trace_lanes(table: TagTable, begins: Ints, lengths: Ints, marks: int) -> Ints:
    """Returns the rows at the marks of each lane, shape [marks + 1, sources, lanes], up to the first lane that ends.

    Repeats the lanes that do not begin where the previous lane ended, up to a state that was recorded before.
    """
    turns = np.diff(np.arange(marks + 1)[:, None] * lengths // marks, axis=0)
    states = np.full((marks + 1, *begins.shape), -1)
    lanes = np.arange(len(lengths))
    while lanes.size:
        states[0][:, lanes] = begins
        for mark in range(marks):
            found = advance(table, states[mark][:, lanes], turns[mark, lanes])
            other = (found != states[mark + 1][:, lanes]).any(axis=0)
            lanes = lanes[other]
            states[mark + 1][:, lanes] = found[:, other]
        ended = (states[-1] >= table.end_rows[:, None]).any(axis=0)
        if ended.any():
            states = states[:, :, : int(np.argmax(ended)) + 1]
        lanes = 1 + np.flatnonzero((states[0, :, 1:] != states[-1, :, :-1]).any(axis=0))
        begins = states[-1][:, lanes - 1]
    return states


def _look_up_sizes(sources: Sequence[SourceQueue], begin: Sequence[int], end: Sequence[int]) -> list[NDArray[np.int32]]:
    """Returns the sizes of these draws of each source and of one more; few draws use one shuffle for all sources."""
    ranges = [(first, source.limit_draws(last + 1)) for source, first, last in zip(sources, begin, end, strict=True)]
    counts = [last - first for first, last in ranges]
    if sum(counts) > _PIECE:
        return [source.look_up_sizes(*bounds) for source, bounds in zip(sources, ranges, strict=True)]
    together = Shuffle(
        np.repeat([source.shuffle.length for source in sources], counts),
        np.repeat([source.shuffle.key for source in sources], counts),
    )
    ordinals = [
        np.arange(s.drawn_before + first, s.drawn_before + last)
        for s, (first, last) in zip(sources, ranges, strict=True)
    ]
    samples = np.split(together.permute(np.concatenate(ordinals)), np.cumsum(counts)[:-1])
    return [
        np.ones(len(part), np.int32) if source.units is None else source.units[part].astype(np.int32)
        for source, part in zip(sources, samples, strict=True)
    ]
