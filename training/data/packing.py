"""Which samples share a sequence: best fit, largest first, under two budgets.

A sequence has room for so many positions and so many tiles. Samples are taken from the largest to the smallest, by the
budget of which they need the greater part, and each goes where it leaves least room: with some ten samples or more a
sequence, less than a sequence a window stays empty. Pure, and the same on every machine.
"""

from bisect import bisect_left, insort

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def pack(lengths: Ints, tiles: Ints, room: int, most_tiles: int) -> list[list[int]]:
    """The samples of each sequence, by their numbers, in their order; sequences in the order of their first samples.

    Every sample must fit into a sequence by itself: ValueError.
    """
    if len(lengths) and (lengths.max() > room or tiles.max() > most_tiles):
        raise ValueError("a sample is larger than a sequence")
    need = np.maximum(lengths * most_tiles, tiles * room)
    packs: list[list[int]] = []
    tiles_left: list[int] = []
    by_room: list[tuple[int, int]] = []  # room left and number of each sequence, least first
    for sample in np.lexsort((np.arange(len(need)), -lengths, -need)).tolist():
        length, count = int(lengths[sample]), int(tiles[sample])
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
    return sorted(sorted(samples) for samples in packs)
