"""What is near to an earlier hash is what a comparison of all pairs says it is."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curation.document_filters import hamming
from pipelines.near_hashes import DISTANCE, repeated


def by_all_pairs(hashes: list[int]) -> list[bool]:
    kept: list[int] = []
    found = []
    for value in hashes:
        found.append(any(hamming(value, other) <= DISTANCE for other in kept))
        if not found[-1]:
            kept.append(value)
    return found


words = st.integers(0, (1 << 64) - 1)
flips = st.lists(st.integers(0, 63), max_size=5).map(lambda bits: sum(1 << bit for bit in set(bits)))


@given(st.lists(words, min_size=1, max_size=4), st.lists(st.tuples(st.integers(0, 3), flips), max_size=60))
def test_near_hashes_are_those_of_all_pairs(centres: list[int], drawn: list[tuple[int, int]]) -> None:
    """Around a few values, so that many are near to one another, and chains of them are."""
    hashes = [centres[which % len(centres)] ^ flipped for which, flipped in drawn]
    assert repeated(np.array(hashes, np.uint64)).tolist() == by_all_pairs(hashes)


@given(st.permutations([0, *(1 << bit for bit in range(0, 64, 4)), *(7 << bit for bit in range(0, 60, 5))]))
def test_the_order_decides_which_are_kept(hashes: list[int]) -> None:
    assert repeated(np.array(hashes, np.uint64)).tolist() == by_all_pairs(hashes)


def test_every_way_to_differ_in_three_bits_is_found() -> None:
    base = 0x0123_4567_89AB_CDEF
    near = [base ^ 1 << one ^ 1 << two ^ 1 << three for one in range(64) for two in range(one) for three in range(two)]
    assert len(near) == 41_664
    for flipped in np.array(near, np.uint64)[::97]:
        assert repeated(np.array([base, flipped], np.uint64)).tolist() == [False, True]
    assert repeated(np.array([base, base ^ 0b1111], np.uint64)).tolist() == [False, False]


def test_many_hashes() -> None:
    generator = np.random.default_rng(3)
    hashes = generator.integers(0, 1 << 64, 200_000, np.uint64)
    copies = hashes[:1000] ^ (np.uint64(1) << generator.integers(0, 64, 1000, np.uint64))
    found = repeated(np.concatenate([hashes, copies]))
    assert (int(found[:200_000].sum()), int(found[200_000:].sum())) == (0, 1000)
