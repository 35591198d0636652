"""Look-ups find what a comparison of all pairs finds, and nothing else."""

import numpy as np
import pytest

from curation.leaks import hash_index
from curation.leaks.hash_index import MAX_DISTANCE, HashIndex
from curation.leaks.image_hashes import Hashes


def draw(rng: np.random.Generator, count: int) -> Hashes:
    return rng.integers(0, 2**64, (count, 4), dtype=np.uint64)


def flip(rng: np.random.Generator, hashes: Hashes, bits: int) -> Hashes:
    """The hashes with so many bits changed, at random places."""
    changed = np.unpackbits(hashes.view(np.uint8), axis=1)
    for row in changed:
        row[rng.choice(256, bits, replace=False)] ^= 1
    return np.packbits(changed, axis=1).view(np.uint64)


def pairs(index: HashIndex, queries: Hashes) -> set[tuple[int, int, int]]:
    return set(zip(*(part.tolist() for part in index.find(queries)), strict=True))


@pytest.mark.parametrize("bits", [0, 1, 16, 30, MAX_DISTANCE])
def test_whatever_is_near_enough_is_found(bits: int) -> None:
    rng = np.random.default_rng(bits)
    hashes = draw(rng, 300)
    order = rng.permutation(300)
    assert pairs(HashIndex(hashes), flip(rng, hashes[order], bits)) == {
        (query, int(entry), bits) for query, entry in enumerate(order)
    }


def test_what_is_too_far_is_not() -> None:
    rng = np.random.default_rng(0)
    hashes = draw(rng, 300)
    assert pairs(HashIndex(hashes), flip(rng, hashes, MAX_DISTANCE + 1)) == set()
    assert pairs(HashIndex(hashes), draw(rng, 300)) == set()


def test_bits_that_all_bands_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two in each band but one: only that band leads to it."""
    hashes = np.zeros((1, 4), np.uint64)
    query = np.full((1, 16), 0b11, np.uint16)
    query[0, 5] = 0b1
    assert pairs(HashIndex(hashes), query.view(np.uint64)) == {(0, 0, 31)}
    monkeypatch.setattr(hash_index, "_BLOCK", 3)  # candidates come in many blocks
    many = np.repeat(hashes, 20, axis=0)
    assert pairs(HashIndex(many), query.view(np.uint64)) == {(0, entry, 31) for entry in range(20)}


def test_nothing_in_or_out() -> None:
    empty = np.empty((0, 4), np.uint64)
    assert pairs(HashIndex(empty), np.zeros((2, 4), np.uint64)) == set()
    assert pairs(HashIndex(np.zeros((2, 4), np.uint64)), empty) == set()


def test_candidates_do_not_grow_as_pairs_do() -> None:
    """Of 4 million pairs of random hashes, one in 200 is compared."""
    rng = np.random.default_rng(1)
    index = HashIndex(draw(rng, 2000))
    candidates = sum(len(asked) for asked, _ in index._list_candidates(draw(rng, 2000)))
    assert candidates < 2000 * 2000 / 200
