"""Packs samples into sequences by best-fit decreasing, under two budgets: positions and tiles.

Best-fit decreasing takes the samples from the largest to the smallest, and puts each where it leaves the least
capacity unused. With sizes as varied as those of documents, hardly any position stays empty. With samples of about the
same size, such as captions, the small ones end up together, and each sequence wastes a little less than one of them
takes (2 % of 4096 positions). In that case a second method fills the sequences one by one: a large sample, then others
as they come, and at the end the two that fill the rest (0.3 to 0.7 % stays empty). The result with fewer sequences is
used. The second method takes ten times as long, some 10 microseconds per sample.

The result depends on the sizes alone, so it is the same on every machine.
"""

from bisect import bisect_left, insort

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Sizes = list[tuple[int, int, int]]
"""Number, positions and tiles of each sample, largest first."""

BEST_FIT_WASTE_DIVISOR = 200  # best fit is accepted when at most 1/200 of its sequences could be saved
LARGE_DIVISOR = 4  # samples above 1/4 of a sequence are taken largest first, smaller ones in their order
FULL_DIVISOR = 512  # a sequence is full when less than 1/512 of it is left
MAX_CANDIDATES = 64  # how many small samples are tried, and how many lengths for the first of the last two


def pack(lengths: Ints, tiles: Ints, max_tokens: int, max_tiles: int) -> list[list[int]]:
    """Returns the sorted sample numbers of each sequence; sequences are in the order of their first samples.

    `lengths` and `tiles` are the samples' sizes; `max_tokens` is the positions and `max_tiles` the tiles of a sequence.
    Raises `ValueError` when a sample is larger than a sequence.
    """
    if not len(lengths):
        return []
    if lengths.max() > max_tokens or tiles.max() > max_tiles:
        raise ValueError("a sample is larger than a sequence")
    need = np.maximum(lengths * max_tiles, tiles * max_tokens)  # of the budget that it takes more of
    order = np.lexsort((np.arange(len(need)), -lengths, -need))
    sizes = list(zip(order.tolist(), lengths[order].tolist(), tiles[order].tolist(), strict=True))
    packs = _pack_best_fit_decreasing(sizes, max_tokens, max_tiles)
    least = max(-(-int(lengths.sum()) // max_tokens), -(-int(tiles.sum()) // max_tiles))
    if len(packs) > least + len(packs) // BEST_FIT_WASTE_DIVISOR:
        packs = min(packs, _fill_one_by_one(sizes, max_tokens, max_tiles), key=len)
    return sorted(sorted(samples) for samples in packs)


def _pack_best_fit_decreasing(sizes: Sizes, max_tokens: int, max_tiles: int) -> list[list[int]]:
    """Packs by best fit: each sample goes where it leaves the fewest positions."""
    packs: list[list[int]] = []
    tiles_left: list[int] = []
    by_tokens_left: list[tuple[int, int]] = []  # positions left and number of each sequence, fewest first
    for sample, length, count in sizes:
        at = bisect_left(by_tokens_left, (length, -1))
        while at < len(by_tokens_left) and tiles_left[by_tokens_left[at][1]] < count:
            at += 1
        if at < len(by_tokens_left):
            left, number = by_tokens_left.pop(at)
        else:
            left, number = max_tokens, len(packs)
            packs.append([])
            tiles_left.append(max_tiles)
        packs[number].append(sample)
        tiles_left[number] -= count
        if left > length:
            insort(by_tokens_left, (left - length, number))
    return packs


def _fill_one_by_one(sizes: Sizes, max_tokens: int, max_tiles: int) -> list[list[int]]:
    """Fills one sequence after the other, from a large sample to the two that fill it."""
    supply = _UnpackedSamples(sizes, max_tokens)
    packs: list[list[int]] = []
    while supply.longest:
        samples: list[int] = []
        left, tiles = max_tokens, max_tiles
        chosen = [supply.find_largest()]
        while chosen:
            for sample in chosen:
                left, tiles = left - supply.length[sample], tiles - supply.tiles[sample]
                supply.remove(sample)
            samples += chosen
            chosen = []
            if left <= max(2 * supply.longest, max_tokens // LARGE_DIVISOR):
                chosen = supply.find_closing(left, tiles)
            chosen = chosen or supply.find_next(left, tiles)
        packs.append(samples)
    return packs


class _UnpackedSamples:
    """Holds the samples that are in no sequence yet, by length, size and order."""

    def __init__(self, sizes: Sizes, max_tokens: int) -> None:
        self.length = {sample: length for sample, length, _ in sizes}
        self.tiles = {sample: tiles for sample, _, tiles in sizes}
        self._max_tokens = max_tokens
        self._by_length: dict[int, dict[int, None]] = {}
        for sample, length, _ in reversed(sizes):
            self._by_length.setdefault(length, {})[sample] = None
        self._lengths = sum(1 << length for length in self._by_length)  # a bit set of the lengths
        self._by_size = [sample for sample, _, _ in sizes]
        self._in_order = sorted(self._by_size)
        self._size_at = self._order_at = 0

    @property
    def longest(self) -> int:
        """Returns the length of the longest sample, or 0 when none is left."""
        return max(0, self._lengths.bit_length() - 1)

    def remove(self, sample: int) -> None:
        """Removes a sample, because it is in a sequence now."""
        length = self.length[sample]
        alike = self._by_length[length]
        del alike[sample]
        if not alike:
            self._lengths ^= 1 << length

    def find_largest(self) -> int:
        """Returns the largest sample; at least one must be left."""
        while not self._is_unpacked(self._by_size[self._size_at]):
            self._size_at += 1
        return self._by_size[self._size_at]

    def find_next(self, left: int, tiles: int) -> list[int]:
        """Returns a list of one sample that fits into `left` positions and `tiles` tiles, or an empty list.

        The choice is first the largest sample, if it is above 1/`LARGE_DIVISOR` of a sequence, then the first of the
        next `MAX_CANDIDATES` smaller ones that fits, then the longest that fits.
        """
        if not self.longest:
            return []
        limit = self._max_tokens // LARGE_DIVISOR
        if self.length[large := self.find_largest()] > limit and self._fits(large, left, tiles):
            return [large]
        while not self._is_unpacked(self._in_order[self._order_at]):
            self._order_at += 1
        for sample in self._in_order[self._order_at : self._order_at + MAX_CANDIDATES]:
            if self.length[sample] <= limit and self._is_unpacked(sample) and self._fits(sample, left, tiles):
                return [sample]
        lengths = self._mask_lengths_up_to(left)
        while lengths:
            length = lengths.bit_length() - 1
            for sample in self._by_length[length]:
                if self.tiles[sample] <= tiles:
                    return [sample]
            lengths ^= 1 << length
        return []

    def find_closing(self, left: int, tiles: int) -> list[int]:
        """Returns one or two samples that fill the rest up to 1/`FULL_DIVISOR` of a sequence, or an empty list."""
        lengths = self._mask_lengths_up_to(left)
        for _ in range(MAX_CANDIDATES):
            if not lengths:
                break
            one = lengths.bit_length() - 1
            lengths ^= 1 << one
            first = next(reversed(self._by_length[one]))
            if left - one <= self._max_tokens // FULL_DIVISOR and self._fits(first, left, tiles):
                return [first]
            seconds = self._mask_lengths_up_to(min(left - one, one))
            if len(self._by_length[one]) == 1:
                seconds &= ~(1 << one)
            other = max(0, seconds.bit_length() - 1)
            if other and left - one - other <= self._max_tokens // FULL_DIVISOR:
                second = next(sample for sample in reversed(self._by_length[other]) if sample != first)
                if self.tiles[first] + self.tiles[second] <= tiles:
                    return [first, second]
        return []

    def _mask_lengths_up_to(self, length: int) -> int:
        return self._lengths & ((2 << length) - 1)

    def _is_unpacked(self, sample: int) -> bool:
        return sample in self._by_length[self.length[sample]]

    def _fits(self, sample: int, left: int, tiles: int) -> bool:
        return self.length[sample] <= left and self.tiles[sample] <= tiles
