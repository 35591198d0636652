"""Which 64-bit hashes are within a few bits of an earlier one, among many millions.

Hashes that differ in at most three bits agree in two at least of five pieces. So each is only compared with those that
agree with it in two pieces, some 25 bits: a sort for each of the ten choices, and then a look along runs of equal
pieces. Of hashes without a pattern ten million have two such neighbours each, where four pieces, of which one must
agree, would leave six hundred, and all pairs ten million.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

DISTANCE = 3  # bits of 64; photographs made smaller and coded anew differ in 0 or 2, any two of them in 16 and more

_PIECES = DISTANCE + 2
_EDGES = [64 * number // _PIECES for number in range(_PIECES + 1)]
_MASKS = [(1 << stop) - (1 << start) for start, stop in itertools.pairwise(_EDGES)]
_CHOICES = [np.uint64(one | other) for one, other in itertools.combinations(_MASKS, 2)]

Hashes = NDArray[np.uint64]


def repeated(hashes: Hashes, rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether each hash is within `DISTANCE` bits of one in an earlier row that is not repeated itself.

    `rows` says, in ascending order, which row each is of: those of one row are not repeats of one another.
    """
    _, firsts, same = np.unique(hashes, return_index=True, return_inverse=True)
    first = firsts[same]  # of each hash, where it stands for the first time
    result = rows != rows[first]  # one that came before as it is is repeated, in any case
    firsts = np.sort(firsts)
    found = [firsts[pairs] for pairs in _near(hashes[firsts]) if len(pairs)]
    found = [pairs[rows[pairs[:, 0]] != rows[pairs[:, 1]]] for pairs in found]
    if found:
        # By the later one: what an earlier one turned out to be is known by then.
        for later, earlier in np.unique(np.concatenate(found), axis=0).tolist():
            if not result[earlier]:
                result[later] = True
    return np.asarray(result | result[first])  # in one row, a hash is what it is where it stands first


def _near(hashes: Hashes) -> Iterator[NDArray[np.int64]]:
    """Places (later, earlier) of any two within `DISTANCE` bits; some pairs come several times."""
    for mask in _CHOICES:
        pieces = hashes & mask
        order = np.argsort(pieces, kind="stable")
        pieces, ordered = pieces[order], hashes[order]
        at: NDArray[Any] = np.arange(len(order))
        for step in itertools.count(1):  # each with the one so many places behind it, while they are in one run
            at = at[: np.searchsorted(at, len(order) - step)]
            at = at[pieces[at] == pieces[at + step]]
            if not len(at):
                break
            near = at[np.bitwise_count(ordered[at] ^ ordered[at + step]) <= DISTANCE]
            yield np.stack([order[near + step], order[near]], axis=1)
