"""Every sample is in one sequence, budgets hold, and hardly anything stays empty."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from training.data.packing import MAX_CANDIDATES, _fill_one_by_one, _pack_best_fit_decreasing, _UnpackedSamples, pack

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


@pytest.mark.parametrize(
    ("lengths", "tiles", "expected"),
    [
        ((60, 40), (0, 0), [[0, 1]]),  # exactly full of positions
        ((60, 41), (0, 0), [[0], [1]]),
        ((10, 10), (5, 4), [[0, 1]]),  # exactly full of tiles
        ((10, 10), (5, 5), [[0], [1]]),
        ((60, 40), (5, 4), [[0, 1]]),  # exactly full of both
        ((60, 41), (5, 4), [[0], [1]]),
        ((60, 40), (5, 5), [[0], [1]]),
        ((100, 100), (9, 9), [[0], [1]]),  # samples of the largest size that there is
        ((100, 1), (0, 0), [[0], [1]]),
        ((1, 1), (9, 1), [[0], [1]]),
        ((99, 1), (9, 0), [[0, 1]]),
    ],
)
def test_a_sequence_is_filled_to_the_last_position_and_tile(
    lengths: tuple[int, ...], tiles: tuple[int, ...], expected: list[list[int]]
) -> None:
    assert pack(ints(*lengths), ints(*tiles), 100, 9) == expected
    for method in (_pack_best_fit_decreasing, _fill_one_by_one):  # small inputs seldom need the second one
        sizes = list(zip(range(len(lengths)), lengths, tiles, strict=True))
        assert sorted(sorted(samples) for samples in method(sizes, 100, 9)) == expected


@pytest.mark.parametrize(("length", "count"), [(101, 0), (1, 10), (101, 10)])
def test_a_sample_of_one_more_than_a_sequence_is_refused(length: int, count: int) -> None:
    with pytest.raises(ValueError, match=r"^a sample is larger than a sequence$"):
        pack(ints(5, length), ints(0, count), 100, 9)


def supply(lengths: tuple[int, ...], tiles: tuple[int, ...], max_tokens: int) -> _UnpackedSamples:
    """Holds these samples, none of which is packed."""
    return _UnpackedSamples(list(zip(range(len(lengths)), lengths, tiles, strict=True)), max_tokens)


@pytest.mark.parametrize(
    ("left", "tiles", "expected"),
    [
        (60, 3, [0]),  # above a quarter of the sequence: the largest goes first
        (59, 3, [1]),  # one position less: the first of the small ones
        (60, 2, [1]),  # one tile less
        (20, 1, [1]),
        (19, 1, [2]),
        (20, 0, [2]),
        (5, 0, [2]),
        (4, 9, []),
    ],
)
def test_the_next_sample_is_one_that_fits_exactly(left: int, tiles: int, expected: list[int]) -> None:
    assert supply((60, 20, 5), (3, 1, 0), 100).find_next(left, tiles) == expected


@pytest.mark.parametrize(("length", "expected"), [(26, [1]), (25, [0])])
def test_a_sample_is_large_above_a_quarter_of_a_sequence(length: int, expected: list[int]) -> None:
    """The largest goes first if it is large; else the first in order does."""
    assert _UnpackedSamples([(1, length, 0), (0, 10, 0)], 100).find_next(100, 0) == expected
    assert supply((length, 10), (1, 0), 100).find_next(100, 1) == [0]
    assert supply((length, 10), (1, 0), 100).find_next(100, 0) == [1]


@pytest.mark.parametrize(
    ("tiles", "expected"), [(3, [MAX_CANDIDATES]), (2, [MAX_CANDIDATES + 1]), (1, [MAX_CANDIDATES + 2]), (0, [])]
)
def test_behind_the_candidates_the_longest_that_fits_is_found(tiles: int, expected: list[int]) -> None:
    """None of the first `MAX_CANDIDATES` fits; of those behind them each has a tile less than the one before."""
    lengths, counts = (20,) * MAX_CANDIDATES + (15, 14, 13), (9,) * MAX_CANDIDATES + (3, 2, 1)
    assert supply(lengths, counts, 100).find_next(15, tiles) == expected


@pytest.mark.parametrize(("candidates", "expected"), [(MAX_CANDIDATES - 1, 0), (MAX_CANDIDATES, 1)])
def test_so_many_candidates_are_tried(candidates: int, expected: int) -> None:
    """Behind 20 s, which do not fit, the shorter one comes first and the longer one is longest."""
    lengths = (20,) * candidates + (13, 15)
    assert supply(lengths, (0,) * len(lengths), 100).find_next(15, 0) == [candidates + expected]


@pytest.mark.parametrize(
    ("left", "tiles", "expected"),
    [
        (100, 2, [0]),  # fills the rest alone
        (102, 2, [0]),  # of 1,024 positions, 2 may stay empty
        (103, 2, []),
        (100, 1, [1, 2]),  # one tile less: two others do
        (100, 0, []),
        (130, 2, [0, 2]),
        (130, 1, []),
    ],
)
def test_the_last_samples_fill_the_rest_exactly(left: int, tiles: int, expected: list[int]) -> None:
    assert supply((100, 70, 30), (2, 1, 0), 1024).find_closing(left, tiles) == expected


@pytest.mark.parametrize(("left", "expected"), [(100, [0, 1]), (102, [0, 1]), (103, [])])
def test_two_samples_leave_as_little_as_one(left: int, expected: list[int]) -> None:
    assert supply((60, 40), (0, 0), 1024).find_closing(left, 0) == expected


@pytest.mark.parametrize(("lengths", "expected"), [((50, 50), [0, 1]), ((50, 49), [0, 1]), ((50,), [])])
def test_two_of_a_length_are_two_samples(lengths: tuple[int, ...], expected: list[int]) -> None:
    assert supply(lengths, (0,) * len(lengths), 1024).find_closing(100, 0) == expected


def test_a_longer_sample_with_too_many_tiles_hides_no_pair() -> None:
    assert supply((52, 50, 50), (9, 1, 1), 1024).find_closing(102, 2) == [1, 2]


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
