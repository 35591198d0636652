"""Pigeonhole LSH: finds the 64-bit hashes within a few bits of an earlier one, among many millions.

Each hash is cut into five pieces. Two hashes that differ in at most three bits agree in at least two pieces, some 25
bits. So each hash is compared only with those that share two pieces: one sort for each of the ten choices of two
pieces, then a scan along runs of equal values. Among ten million random hashes, each has two such candidates; with
four pieces, of which one must agree, it would have six hundred, and without LSH ten million.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

DISTANCE = 3  # bits of 64; a photograph resized and re-encoded differs in 0 or 2, two different ones in 16 or more

_PIECES = DISTANCE + 2
_EDGES = [64 * number // _PIECES for number in range(_PIECES + 1)]
_MASKS = [(1 << stop) - (1 << start) for start, stop in itertools.pairwise(_EDGES)]
_CHOICES = [np.uint64(one | other) for one, other in itertools.combinations(_MASKS, 2)]

Hashes = NDArray[np.uint64]


def find_repeats(hashes: Hashes, rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Returns, for each hash, whether it is within `DISTANCE` bits of one in an earlier row that is itself no repeat.

    `rows` holds the row of each hash, ascending. Hashes of the same row are not repeats of one another.
    """
    _, firsts, same = np.unique(hashes, return_index=True, return_inverse=True)
    first = firsts[same]  # the position of the first equal hash
    result = rows != rows[first]  # a hash that equals an earlier row's is always a repeat
    firsts = np.sort(firsts)
    found = [firsts[pairs] for pairs in _iterate_near_pairs(hashes[firsts]) if len(pairs)]
    found = [pairs[rows[pairs[:, 0]] != rows[pairs[:, 1]]] for pairs in found]
    if found:
        # Sorted by the later hash, so that the earlier one is already decided.
        for later, earlier in np.unique(np.concatenate(found), axis=0).tolist():
            if not result[earlier]:
                result[later] = True
    return np.asarray(result | result[first])  # equal hashes of one row share the result of the first


def _iterate_near_pairs(hashes: Hashes) -> Iterator[NDArray[np.int64]]:
    """Yields the positions (later, earlier) of all pairs within `DISTANCE` bits; some pairs come several times."""
    for mask in _CHOICES:
        pieces = hashes & mask
        order = np.argsort(pieces, kind="stable")
        pieces, ordered = pieces[order], hashes[order]
        at: NDArray[Any] = np.arange(len(order))
        for step in itertools.count(1):  # compare each with the one `step` places after it, within one run
            at = at[: np.searchsorted(at, len(order) - step)]
            at = at[pieces[at] == pieces[at + step]]
            if not len(at):
                break
            near = at[np.bitwise_count(ordered[at] ^ ordered[at + step]) <= DISTANCE]
            yield np.stack([order[near + step], order[near]], axis=1)
