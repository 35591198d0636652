"""Every sample is in one sequence, budgets hold, and hardly anything stays empty."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from training.data.packing import pack

Ints = NDArray[np.int64]


def ints(*values: int) -> Ints:
    return np.asarray(values, np.int64)


def padding(lengths: Ints, tiles: Ints, room: int, most_tiles: int, window: int) -> float:
    """Share of positions that hold nothing, window after window."""
    starts = range(0, len(lengths), window)
    packs = sum(len(pack(lengths[at : at + window], tiles[at : at + window], room, most_tiles)) for at in starts)
    return 1 - float(lengths.sum()) / (packs * room)


def test_largest_first_where_it_leaves_least_room() -> None:
    lengths = ints(30, 60, 50, 40, 10, 10)
    assert pack(lengths, np.zeros(6, np.int64), 100, 9) == [[0, 2, 4, 5], [1, 3]]


def test_the_image_budget_binds_as_well() -> None:
    assert pack(ints(10, 10, 10, 10), ints(1, 1, 1, 1), 100, 2) == [[0, 1], [2, 3]]
    assert pack(ints(10, 10, 50, 40), ints(2, 1, 0, 0), 100, 2) == [[0, 2, 3], [1]]


def test_nothing_gives_nothing_and_what_fits_nowhere_is_refused() -> None:
    assert pack(ints(), ints(), 10, 1) == []
    for lengths, tiles in ((ints(11), ints(0)), (ints(1), ints(2))):
        with pytest.raises(ValueError, match="larger than a sequence"):
            pack(lengths, tiles, 10, 1)


@given(st.lists(st.tuples(st.integers(1, 100), st.integers(0, 8)), max_size=200))
def test_each_sample_is_in_one_sequence_within_both_budgets(samples: list[tuple[int, int]]) -> None:
    lengths, tiles = (ints(*column) for column in (zip(*samples, strict=True) if samples else ((), ())))
    packs = pack(lengths, tiles, 100, 8)
    assert sorted(number for members in packs for number in members) == list(range(len(samples)))
    assert all(lengths[members].sum() <= 100 and tiles[members].sum() <= 8 for members in packs)
    assert all(members == sorted(members) for members in packs)
    assert packs == sorted(packs)
    least = max(-(-int(lengths.sum()) // 100), -(-int(tiles.sum()) // 8)) if samples else 0
    assert len(packs) <= 2 * least + 1  # two sequences that could be one are never left


def test_padding_stays_under_two_in_a_hundred_at_the_defaults() -> None:
    """Token counts as wide as those of captions, web documents and papers; 128 tokens an image, 4096 a sequence."""
    random, count = np.random.default_rng(0), 16384
    captions = np.rint(random.lognormal(3.2, 0.6, count)).astype(np.int64) + 130
    one = np.ones(count, np.int64)
    images = 1 + random.poisson(2.5, count)
    documents = np.minimum(np.rint(random.lognormal(6.3, 1.1, count)).astype(np.int64) + images * 129 + 1, 4096)
    mixed = random.choice(3, count, p=[0.45, 0.45, 0.1])
    texts = np.minimum(np.rint(random.lognormal(6.2, 1.2, count)).astype(np.int64) + 1, 4096)
    assert padding(captions, one, 4096, 32, 4096) < 0.008
    assert padding(documents, images, 4096, 32, 4096) < 0.008
    lengths = np.choose(mixed, [captions, documents, texts])
    assert padding(lengths, np.choose(mixed, [one, images, 0 * one]), 4096, 32, 4096) < 0.005
