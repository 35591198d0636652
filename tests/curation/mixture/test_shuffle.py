"""The order of a source."""

from math import factorial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.mixture.shuffle import Shuffle


@given(st.one_of(st.integers(1, 5000), st.integers(1, 130)), st.integers(0, 2**70), st.integers(0, 10**6))
def test_each_epoch_is_a_permutation(length: int, seed: int, epoch: int) -> None:
    ordinals = np.arange(epoch * length, (epoch + 1) * length)
    assert sorted(Shuffle.for_source(length, seed, "a").permute(ordinals)) == list(range(length))


@given(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 10**9)), min_size=1, max_size=50))
def test_many_sources_at_once_as_one_by_one(draws: list[tuple[int, int]]) -> None:
    singles = [Shuffle.for_source(length, 5, str(length)) for length, _ in draws]
    together = Shuffle(np.asarray([length for length, _ in draws]), np.asarray([one.key for one in singles]))
    ordinals = np.asarray([ordinal for _, ordinal in draws])
    expected = [int(one.permute(ordinals[i : i + 1])[0]) for i, one in enumerate(singles)]
    assert together.permute(ordinals).tolist() == expected


def test_golden() -> None:
    """The order is a promise: a run resumed with a later version must find the same."""
    assert Shuffle.for_source(1000, 0, "mint.html").permute(np.arange(998, 1004)).tolist() == [
        480,
        503,
        153,
        399,
        402,
        673,
    ]
    assert Shuffle.for_source(5, 0, "a").permute(np.arange(12)).tolist() == [4, 2, 3, 1, 0, 4, 1, 3, 2, 0, 3, 1]
    assert Shuffle.for_source(6 * 10**9, 1, "a").permute(np.arange(10**10, 10**10 + 3)).tolist() == [
        4773797995,
        4128570,
        5172356097,
    ]


def test_seeds_names_and_epochs_differ() -> None:
    ordinals = np.arange(1000)
    orders = [Shuffle.for_source(1000, seed, name).permute(ordinals) for seed, name in ((0, "a"), (1, "a"), (0, "b"))]
    orders.append(Shuffle.for_source(1000, 0, "a").permute(ordinals + 1000))
    for number, order in enumerate(orders):
        for other in orders[:number]:
            assert (order == other).sum() < 10


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5])
def test_every_order_of_a_handful_is_about_as_likely(length: int) -> None:
    epochs = factorial(length) * 300
    orders = Shuffle.for_source(length, 7, "b").permute(np.arange(length * epochs)).reshape(epochs, length)
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == factorial(length)
    assert ((counts - 300) ** 2 / 300).sum() < 2.2 * len(counts) + 10  # chi-square; about 1 a count


@pytest.mark.parametrize("length", [65, 1000, 65_537, 1_000_000, 500_000_000])
def test_shuffled_all_over_and_neighbours_part(length: int) -> None:
    epoch = Shuffle.for_source(length, 3, "c").permute(np.arange(min(length, 200_000)))
    apart = np.diff(epoch) % length
    for values in (epoch, apart):  # each spread evenly over the whole source
        counts = np.bincount(values * 50 // length, minlength=50)
        expected = len(values) / 50
        assert ((counts - expected) ** 2 / expected).sum() < 110  # chi-square of 49 degrees: one in 10**6
    assert (apart == 1).sum() <= 8
