"""Which samples share a sequence, under two budgets: positions and tiles. Pure, and the same on every machine.

First as best fit has it: from the largest sample to the smallest, each where it leaves least room. Where sizes are as
various as those of documents hardly anything stays empty then. But where all are of about the same size, as captions
are, the small ones end up among themselves, and leave in each sequence a bit less than one of them takes (2 % of 4096
positions). Then sequences are filled one by one: a large sample, others as they come, and at the end the two that fill
what is left (0.3 to 0.7 %); the fewer sequences count. It takes ten times as long, some 10 microseconds a sample.
"""

from bisect import bisect_left, insort

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Sizes = list[tuple[int, int, int]]
"""Number, positions and tiles of each sample, largest first."""

ENOUGH = 200  # best fit will do where less than this part is empty
LARGE = 4  # of samples above this part of a sequence the largest comes next; of smaller ones the first
CLOSE = 512  # a sequence of which less than this part is left is full
LOOKED_AT = 64  # small samples, and lengths of one of the last two, that are tried


def pack(lengths: Ints, tiles: Ints, room: int, most_tiles: int) -> list[list[int]]:
    """The samples of each sequence, by their numbers, in their order; sequences in the order of their first samples.

    Every sample must fit into a sequence by itself: ValueError.
    """
    if not len(lengths):
        return []
    if lengths.max() > room or tiles.max() > most_tiles:
        raise ValueError("a sample is larger than a sequence")
    need = np.maximum(lengths * most_tiles, tiles * room)  # of the budget of which it takes the greater part
    order = np.lexsort((np.arange(len(need)), -lengths, -need))
    sizes = list(zip(order.tolist(), lengths[order].tolist(), tiles[order].tolist(), strict=True))
    packs = _best_fit(sizes, room, most_tiles)
    least = max(-(-int(lengths.sum()) // room), -(-int(tiles.sum()) // most_tiles))
    if len(packs) > least + len(packs) // ENOUGH:
        packs = min(packs, _one_by_one(sizes, room, most_tiles), key=len)
    return sorted(sorted(samples) for samples in packs)


def _best_fit(sizes: Sizes, room: int, most_tiles: int) -> list[list[int]]:
    """Each sample where it leaves least room."""
    packs: list[list[int]] = []
    tiles_left: list[int] = []
    by_room: list[tuple[int, int]] = []  # room left and number of each sequence, least first
    for sample, length, count in sizes:
        at = bisect_left(by_room, (length, -1))
        while at < len(by_room) and tiles_left[by_room[at][1]] < count:
            at += 1
        if at < len(by_room):
            left, number = by_room.pop(at)
        else:
            left, number = room, len(packs)
            packs.append([])
            tiles_left.append(most_tiles)
        packs[number].append(sample)
        tiles_left[number] -= count
        if left > length:
            insort(by_room, (left - length, number))
    return packs


def _one_by_one(sizes: Sizes, room: int, most_tiles: int) -> list[list[int]]:
    """Each sequence from a large sample to the two that fill it."""
    supply = _Supply(sizes, room)
    packs: list[list[int]] = []
    while supply.longest:
        samples: list[int] = []
        left, tiles = room, most_tiles
        chosen = [supply.largest()]
        while chosen:
            for sample in chosen:
                left, tiles = left - supply.length[sample], tiles - supply.tiles[sample]
                supply.take(sample)
            samples += chosen
            chosen = []
            if left <= max(2 * supply.longest, room // LARGE):
                chosen = supply.closing(left, tiles)
            chosen = chosen or supply.next(left, tiles)
        packs.append(samples)
    return packs


class _Supply:
    """The samples that are in no sequence yet."""

    def __init__(self, sizes: Sizes, room: int) -> None:
        self.length = {sample: length for sample, length, _ in sizes}
        self.tiles = {sample: tiles for sample, _, tiles in sizes}
        self._room = room
        self._by_length: dict[int, dict[int, None]] = {}
        for sample, length, _ in reversed(sizes):
            self._by_length.setdefault(length, {})[sample] = None
        self._lengths = sum(1 << length for length in self._by_length)  # as bits
        self._by_size = [sample for sample, _, _ in sizes]
        self._in_order = sorted(self._by_size)
        self._size_at = self._order_at = 0

    @property
    def longest(self) -> int:
        """Length of the longest sample; 0 when there are none."""
        return max(0, self._lengths.bit_length() - 1)

    def take(self, sample: int) -> None:
        """It is in a sequence now."""
        length = self.length[sample]
        alike = self._by_length[length]
        del alike[sample]
        if not alike:
            self._lengths ^= 1 << length

    def largest(self) -> int:
        """The largest sample; there is one."""
        while not self._is_here(self._by_size[self._size_at]):
            self._size_at += 1
        return self._by_size[self._size_at]

    def next(self, left: int, tiles: int) -> list[int]:
        """A sample that goes where so much is left, if there is one: a large one, the first of the others, any."""
        if not self.longest:
            return []
        limit = self._room // LARGE
        if self.length[large := self.largest()] > limit and self._fits(large, left, tiles):
            return [large]
        while not self._is_here(self._in_order[self._order_at]):
            self._order_at += 1
        for sample in self._in_order[self._order_at : self._order_at + LOOKED_AT]:
            if self.length[sample] <= limit and self._is_here(sample) and self._fits(sample, left, tiles):
                return [sample]
        lengths = self._up_to(left)
        while lengths:
            length = lengths.bit_length() - 1
            for sample in self._by_length[length]:
                if self.tiles[sample] <= tiles:
                    return [sample]
            lengths ^= 1 << length
        return []

    def closing(self, left: int, tiles: int) -> list[int]:
        """One or two samples that fill what is left, all but a little; none where there are no such."""
        lengths = self._up_to(left)
        for _ in range(LOOKED_AT):
            if not lengths:
                break
            one = lengths.bit_length() - 1
            lengths ^= 1 << one
            first = next(reversed(self._by_length[one]))
            if left - one <= self._room // CLOSE and self._fits(first, left, tiles):
                return [first]
            seconds = self._up_to(min(left - one, one))
            if len(self._by_length[one]) == 1:
                seconds &= ~(1 << one)
            other = max(0, seconds.bit_length() - 1)
            if other and left - one - other <= self._room // CLOSE:
                second = next(sample for sample in reversed(self._by_length[other]) if sample != first)
                if self.tiles[first] + self.tiles[second] <= tiles:
                    return [first, second]
        return []

    def _up_to(self, length: int) -> int:
        return self._lengths & ((2 << length) - 1)

    def _is_here(self, sample: int) -> bool:
        return sample in self._by_length[self.length[sample]]

    def _fits(self, sample: int, left: int, tiles: int) -> bool:
        return self.length[sample] <= left and self.tiles[sample] <= tiles
