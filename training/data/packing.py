"""Which samples share a sequence: best fit, largest first, under two budgets.

A sequence has room for so many positions and so many tiles. Samples are taken from the largest to the smallest, by the
budget of which they need the greater part, and each goes where it leaves least room. Where all samples are of about the
same size, as captions are, that leaves in each sequence a bit less than one of them takes; so fewer sequences are tried
then, each sample going where there is most room. Pure, and the same on every machine.
"""

from bisect import bisect_left, insort
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Sizes = list[tuple[int, int, int]]
"""Number, positions and tiles of each sample, largest first."""

_TRIES = 2  # numbers of sequences below that of best fit


def pack(lengths: Ints, tiles: Ints, room: int, most_tiles: int) -> list[list[int]]:
    """The samples of each sequence, by their numbers, in their order; sequences in the order of their first samples.

    Every sample must fit into a sequence by itself: ValueError.
    """
    if not len(lengths):
        return []
    if lengths.max() > room or tiles.max() > most_tiles:
        raise ValueError("a sample is larger than a sequence")
    need = np.maximum(lengths * most_tiles, tiles * room)
    order = np.lexsort((np.arange(len(need)), -lengths, -need))
    sizes = list(zip(order.tolist(), lengths[order].tolist(), tiles[order].tolist(), strict=True))
    packs = _best_fit(sizes, room, most_tiles)
    least = max(-(-int(lengths.sum()) // room), -(-int(tiles.sum()) // most_tiles))
    for count in range(least, min(least + _TRIES, len(packs))):
        if (found := _spread(sizes, room, most_tiles, count)) is not None:
            packs = found
            break
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


def _spread(sizes: Sizes, room: int, most_tiles: int, count: int) -> list[list[int]] | None:
    """Each sample where most room is, in so many sequences; None where that comes to no end."""
    packs: list[list[int]] = [[] for _ in range(count)]
    tiles_left = [most_tiles] * count
    filled = [(0, number) for number in range(count)]  # a heap
    for sample, length, tiles in sizes:
        used, number = heappop(filled)
        if used + length > room or tiles_left[number] < tiles:
            return None
        packs[number].append(sample)
        tiles_left[number] -= tiles
        heappush(filled, (used + length, number))
    return packs if all(packs) else None
