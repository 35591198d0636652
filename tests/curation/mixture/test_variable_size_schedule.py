"""Turns by tokens or images, against the rule followed turn by turn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.mixture.shuffle import Shuffle
from curation.mixture.variable_size_schedule import PassChunking, SourceQueue, VariableSizeSchedule


def reference(weights: list[int], sizes: list[list[int]], most: int) -> list[int]:
    """The rule as its definition says it. Ends where a source has no more."""
    total = sum(weights)
    counts, units, turns = [0] * len(weights), [0] * len(weights), []
    while len(turns) < most and all(count < len(size) for count, size in zip(counts, sizes, strict=True)):
        drawn = sum(units)
        begun = [source for source in range(len(weights)) if units[source] * total <= weights[source] * drawn]

        def over(source: int) -> int:
            return -(-(units[source] + sizes[source][counts[source]]) * total // weights[source])

        turn = min(begun, key=lambda source: (over(source), source))
        units[turn] += sizes[turn][counts[turn]]
        counts[turn] += 1
        turns.append(turn)
    return turns


def draws(
    weights: list[int], units: list[np.ndarray], seed: int, epochs: list[int | None], first: int = 0
) -> list[SourceQueue]:
    return [
        SourceQueue(
            unit,
            float(unit.mean()),
            Shuffle.for_source(len(unit), seed, str(number)),
            first,
            None if times is None else times * len(unit) - first,
            weight,
        )
        for number, (weight, unit, times) in enumerate(zip(weights, units, epochs, strict=True))
    ]


SIZES = st.one_of(
    st.lists(st.integers(0, 20), min_size=1, max_size=20),
    st.lists(st.sampled_from([0, 1, 1000]), min_size=1, max_size=20),
    st.lists(st.integers(1, 2**31 - 1), min_size=1, max_size=20),
    st.integers(1, 50).flatmap(lambda size: st.lists(st.just(size), min_size=1, max_size=20)),
)


@settings(max_examples=150)
@given(
    st.lists(st.tuples(st.integers(1, 40), SIZES.filter(any), st.sampled_from([1, 2, None])), min_size=1, max_size=7),
    st.integers(0, 3),
    st.builds(
        PassChunking,
        chunk_turns=st.integers(1, 99),
        marks_per_lane=st.integers(1, 9),
        turns_per_mark=st.integers(1, 9),
        warm_up_turns=st.integers(0, 20),
    ),
)
def test_the_turns_are_the_rules_however_cut(
    sources: list[tuple[int, list[int], int | None]], seed: int, cut: PassChunking
) -> None:
    weights = [weight for weight, _, _ in sources]
    units = [np.asarray(size) for _, size, _ in sources]
    given_ = draws(weights, units, seed, [times for _, _, times in sources])
    most = 60
    turns = VariableSizeSchedule(given_, most, cut)
    sizes = [source.look_up_sizes(0, source.limit_draws(3 * most)).tolist() for source in given_]
    expected = reference(weights, sizes, most)
    ended = any(source.remaining == expected.count(number) for number, source in enumerate(given_))
    assert (turns.end is not None and turns.end <= most) == ended
    if ended:
        assert turns.end == len(expected)
    got, ordinals = turns.take(0, len(expected))
    assert got.tolist() == expected
    assert ordinals.tolist() == [expected[:n].count(turn) for n, turn in enumerate(expected)]
    within(weights, sizes, expected)
    for start in range(0, len(expected), 13):
        assert turns.count_draws(start) == [expected[:start].count(number) for number in range(len(weights))]
        part, _ = turns.take(start, min(start + 5, len(expected)))
        assert part.tolist() == expected[start : start + 5]


def within(weights: list[int], sizes: list[list[int]], turns: list[int]) -> None:
    """Asserts that at every prefix each source is less than the largest sample away from its share."""
    largest, total = max(max(size) for size in sizes), sum(weights)
    counts, units = [0] * len(weights), [0] * len(weights)
    for turn in turns:
        units[turn] += sizes[turn][counts[turn]]
        counts[turn] += 1
        for weight, unit in zip(weights, units, strict=True):
            assert abs(unit * total - weight * sum(units)) < largest * total


@pytest.mark.parametrize("kind", ["web text", "equal", "images", "two sizes"])
def test_the_bound_over_long_orders(kind: str) -> None:
    pick = np.random.default_rng(0)
    weights = [14, 10, 2, 20, 14, 8, 4, 4, 1, 1, 1, 1]
    units = []
    for weight in weights:
        count = 2500 * weight
        units.append(
            {
                "web text": np.minimum(65_535, pick.lognormal(6.5, 1, count)).astype(np.uint16),
                "equal": np.full(count, 2048, np.uint16),
                "images": pick.poisson(2, count).astype(np.uint8),
                "two sizes": pick.choice([1, 60_000], count, p=[0.9, 0.1]).astype(np.int32),
            }[kind]
        )
    given_ = draws(weights, units, 1, [1] * len(weights))
    turns = VariableSizeSchedule(given_)
    assert turns.end is not None
    sources, ordinals = turns.take(0, turns.end)
    sizes = np.empty(turns.end, np.int64)
    for number, source in enumerate(given_):
        places = sources == number
        assert (ordinals[places] == np.arange(places.sum())).all()
        sizes[places] = source.look_up_sizes(0, int(places.sum()))
    drawn, largest = np.cumsum(sizes), max(int(unit.max()) for unit in units)
    for number, weight in enumerate(weights):
        units_of = np.cumsum(np.where(sources == number, sizes, 0))
        assert (abs(units_of * 80 - weight * drawn) < largest * 80).all()
    again = VariableSizeSchedule(
        given_, chunking=PassChunking(chunk_turns=9000, marks_per_lane=3, turns_per_mark=50, warm_up_turns=10)
    )
    assert (again.take(0, turns.end)[0] == sources).all()
