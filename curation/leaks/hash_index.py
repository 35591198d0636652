"""Looks hashes up by multi-index hashing (Norouzi, Punjani and Fleet, 2012): in time that grows with what is found.

A hash of 256 bits is cut into 16 bands of 16 bits. Two hashes that differ in at most 31 bits differ in at most one bit
of some band, by the pigeonhole principle. So a look-up tries, in each band, the query's own bits and the 16 values that
differ from them in one bit, and computes the distance only of the hashes that have one of these values there.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curation.leaks.image_hashes import WORDS, Hashes

MAX_DISTANCE = 31  # bits; the largest for which the look-up misses nothing, and what PDQ's authors take as a match
_BANDS = 4 * WORDS
_PROBES = np.array([0, *(1 << bit for bit in range(16))], np.uint16)
_BLOCK = 1 << 20  # candidates whose distances are computed at once: 64 MB

Integers = NDArray[np.int64]


class Matches(NamedTuple):
    """Holds pairs of hashes that differ in few bits. A pair may occur more than once."""

    queries: Integers
    entries: Integers
    distances: Integers


class HashIndex:
    """Holds hashes, numbered in their order."""

    def __init__(self, hashes: Hashes) -> None:
        """Sorts the hashes by each band: 192 bytes for each hash."""
        self._hashes = hashes
        bands = _split(hashes)
        self._order = np.argsort(bands, axis=0, kind="stable").T.copy()
        self._values = np.take_along_axis(bands, self._order.T, axis=0).T.copy()

    def find(self, queries: Hashes) -> Matches:
        """Returns the pairs of queries and entries that differ in at most `MAX_DISTANCE` bits."""
        found = [self._measure(queries, *pairs) for pairs in self._list_candidates(queries)]
        empty = np.empty(0, np.int64)
        return Matches(*(np.concatenate([empty, *(part[at] for part in found)]) for at in range(3)))

    def _list_candidates(self, queries: Hashes) -> Iterator[tuple[Integers, Integers]]:
        """Yields blocks of pairs that are near in one band."""
        owners = np.repeat(np.arange(len(queries)), len(_PROBES))
        for values, order, band in zip(self._values, self._order, _split(queries).T, strict=True):
            probes = (band[:, None] ^ _PROBES).ravel()
            first = np.searchsorted(values, probes, side="left")
            counts = np.searchsorted(values, probes, side="right") - first
            ends = np.cumsum(counts)
            for start in range(0, int(ends[-1]) if len(ends) else 0, _BLOCK):
                numbers = np.arange(start, min(start + _BLOCK, int(ends[-1])))
                probe = np.searchsorted(ends, numbers, side="right")
                yield owners[probe], order[first[probe] + numbers - (ends - counts)[probe]]

    def _measure(self, queries: Hashes, asked: Integers, entries: Integers) -> Matches:
        bits = np.bitwise_count(queries[asked] ^ self._hashes[entries])
        distances = bits.sum(axis=1, dtype=np.int64)
        near = distances <= MAX_DISTANCE
        return Matches(asked[near], entries[near], distances[near])


def _split(hashes: Hashes) -> NDArray[np.uint16]:
    """Returns the bands of each hash, [hashes, bands]."""
    return np.ascontiguousarray(hashes).view(np.uint16).reshape(len(hashes), _BANDS)
