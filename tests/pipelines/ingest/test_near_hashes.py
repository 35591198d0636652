"""What is near to an earlier hash is what a comparison of all pairs says it is."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curation.documents.filters import compute_hamming_distance
from pipelines.ingest.near_hashes import DISTANCE, find_repeats


def by_all_pairs(hashes: list[int], rows: list[int]) -> list[bool]:
    kept: list[tuple[int, int]] = []
    found = []
    for value, row in zip(hashes, rows, strict=True):
        found.append(any(compute_hamming_distance(value, other) <= DISTANCE and row != its for other, its in kept))
        if not found[-1]:
            kept.append((value, row))
    return found


def by_sorts(hashes: list[int], rows: list[int]) -> list[bool]:
    return find_repeats(np.array(hashes, np.uint64), np.array(rows)).tolist()


words = st.integers(0, (1 << 64) - 1)
flips = st.lists(st.integers(0, 63), max_size=5).map(lambda bits: sum(1 << bit for bit in set(bits)))


@given(st.lists(words, min_size=1, max_size=4), st.lists(st.tuples(st.integers(0, 3), flips), max_size=60))
def test_near_hashes_are_those_of_all_pairs(centres: list[int], drawn: list[tuple[int, int]]) -> None:
    """Around a few values, so that many are near to one another, and chains of them are."""
    hashes = [centres[which % len(centres)] ^ flipped for which, flipped in drawn]
    for each in (1, 2, 5):
        rows = [number // each for number in range(len(hashes))]
        assert by_sorts(hashes, rows) == by_all_pairs(hashes, rows)


@given(st.permutations([0, *(1 << bit for bit in range(0, 64, 4)), *(7 << bit for bit in range(0, 60, 5))]))
def test_the_order_decides_which_are_kept(hashes: list[int]) -> None:
    rows = [*range(len(hashes))]
    assert by_sorts(hashes, rows) == by_all_pairs(hashes, rows)


def test_those_of_one_row_are_no_repeats_of_one_another() -> None:
    assert by_sorts([5, 5, 4, 5, 9, 5], [0, 0, 0, 1, 1, 2]) == [False, False, False, True, True, True]
    assert by_sorts([0, 7, 63, 63, 56], [0, 0, 0, 1, 1]) == [False, False, False, True, True]


def test_every_way_to_differ_in_three_bits_is_found() -> None:
    base = 0x0123_4567_89AB_CDEF
    near = [base ^ 1 << one ^ 1 << two ^ 1 << three for one in range(64) for two in range(one) for three in range(two)]
    assert len(near) == 41_664
    for flipped in np.array(near, np.uint64)[::97]:
        assert by_sorts([base, int(flipped)], [0, 1]) == [False, True]
    assert by_sorts([base, base ^ 0b1111], [0, 1]) == [False, False]


def test_many_hashes() -> None:
    generator = np.random.default_rng(3)
    hashes = generator.integers(0, 1 << 64, 200_000, np.uint64)
    copies = hashes[:1000] ^ (np.uint64(1) << generator.integers(0, 64, 1000, np.uint64))
    found = find_repeats(np.concatenate([hashes, copies]), np.arange(201_000))
    assert (int(found[:200_000].sum()), int(found[200_000:].sum())) == (0, 1000)
