"""Turns by samples: one period of them."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.mixture.fixed_size_schedule import FixedSizeSchedule
from curation.mixture.wf2q import compute_period, compute_tags


def reference(weights: list[int], most: int) -> list[int]:
    """The rule for samples, as its definition says it."""
    total, counts, turns = sum(weights), [0] * len(weights), []
    for drawn in range(most):
        begun = [source for source, weight in enumerate(weights) if counts[source] * total <= weight * drawn]
        turns.append(min(begun, key=lambda source: (-(-(counts[source] + 1) * total // weights[source]), source)))
        counts[turns[-1]] += 1
    return turns


WEIGHTS = st.lists(st.one_of(st.integers(1, 60), st.sampled_from([1, 1000])), min_size=1, max_size=12)


@given(WEIGHTS, st.integers(1, 300))
def test_no_prefix_of_a_period_is_a_whole_sample_off(weights: list[int], most: int) -> None:
    turns = compute_period(weights, 10**6)
    total, lengths = sum(weights), np.arange(1, sum(weights) + 1)
    for source, weight in enumerate(weights):
        counts = np.cumsum(turns == source)
        assert (abs(counts * total - weight * lengths) < total).all()
        assert counts[-1] == weight
    assert compute_period(weights, most).tolist() == turns[:most].tolist()
    assert turns[:300].tolist() == reference(weights, min(total, 300))


def test_a_period_as_one_would_write_it() -> None:
    assert compute_period((3, 2, 1), 6).tolist() == [0, 1, 0, 1, 0, 2]
    assert compute_period((1,), 6).tolist() == [0]


@given(st.integers(1, 2**31 - 1), st.integers(0, 2**31 - 1), st.lists(st.integers(0, 2**31), max_size=5))
def test_tags_are_exact(weight: int, more: int, units: list[int]) -> None:
    total = min(2**31 - 1, weight + more)
    expected = [-(-unit * total // weight) for unit in units]
    assert compute_tags(np.asarray(units, np.int64), weight, total).tolist() == expected


@pytest.mark.parametrize("left", [[3, None], [None, 5], [1, 1], [30, 21], [31, 20], [None, 4000]])
def test_the_end_is_where_the_first_has_no_more(left: list[int | None]) -> None:
    turns = FixedSizeSchedule((3, 2), left)
    assert turns.end is not None
    drawn = turns.count_draws(turns.end)
    assert any(count == limit for count, limit in zip(drawn, left, strict=True))
    before = turns.count_draws(turns.end - 1)
    assert all(limit is None or count < limit for count, limit in zip(before, left, strict=True))


def test_turns_far_out_are_found_by_arithmetic() -> None:
    turns = FixedSizeSchedule((14, 10, 2, 20, 14, 8, 4, 4, 1, 1, 1, 1), [None] * 12)
    assert turns.end is None
    start = 10**15 + 7
    sources, ordinals = turns.take(start, start + 200)
    drawn = turns.count_draws(start)
    for source, ordinal in zip(sources.tolist(), ordinals.tolist(), strict=True):
        assert ordinal == drawn[source]
        drawn[source] += 1
    assert all(
        abs(Fraction(10**15 * weight, 80) - count) <= 80 for weight, count in zip((14, 10), drawn[:2], strict=True)
    )
