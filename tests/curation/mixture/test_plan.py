"""Plans: phases, epochs, ends, and any position found."""

import hashlib
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.mixture.plan import Plan, plan_mixture
from curation.mixture.shards import ShardRows
from curation.mixture.spec import Mixture, Source, Stop, WeightUnit
from curation.mixture.summary import summarise_plan
from curation.mixture.weights import compute_shares
from schemas.errors import UsageError
from schemas.tar.reader import TarReader

TREE = {"mint": {"weight": 65, "of": {"html": 7, "pdf": 5, "arxiv": 1}}, "obelics": 35}
NAMES = ["mint.html", "mint.pdf", "mint.arxiv", "obelics"]


ALIKE = st.sampled_from([[1], [0, 1, 7, 500]])
UNLIKE = st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=4)
LENGTHS = st.one_of(st.just(1), st.integers(1, 12), st.integers(1, 40))
SIMPLE = st.sampled_from([1, 2, 0.5, "7/3", 32.5])
EXTREME = st.one_of(st.integers(1, 10**9), st.fractions("1/1000000", 1000))


@st.composite
def any_mixture(draw: st.DrawFn, endless: bool = True) -> tuple[Mixture, list[Source]]:
    """Any weights, lengths, sizes, units, repeats and stop rules."""
    made, weights, repeat = [], {}, {}
    endless = endless and draw(st.booleans())  # else it might take 10**15 of the one until the other has given all
    pick = np.random.default_rng(draw(st.integers(0, 9)))
    for name in "abcdefgh"[: draw(st.integers(1, 6))]:
        length = draw(LENGTHS)
        units = pick.choice(draw(ALIKE if endless else ALIKE | UNLIKE), length)
        images = units % 7
        units[0], images[-1] = max(1, int(units[0])), max(1, int(images[-1]))  # not 0 in all samples
        made.append(Source(name, length, {"tokens": units, "images": images}))
        weights[name] = draw(SIMPLE if endless else SIMPLE | EXTREME)
        repeat[name] = draw(st.sampled_from([1, 1, 2, 5, None] if endless else [1, 1, 2, 5]))
    unit: WeightUnit = draw(st.sampled_from(["samples", "tokens", "images"]))
    stop: Stop = draw(st.one_of(st.sampled_from(["first_exhausted", "all_exhausted"]), st.integers(1, 80)))
    return Mixture(compute_shares(weights), unit, repeat, stop, draw(st.integers(-3, 3))), made


def limits(plan: Plan) -> list[int | None]:
    """Draws that each source may give."""
    times = [plan.mixture.repeat.get(source.name, 1) for source in plan.sources]
    return [None if t is None else t * source.length for t, source in zip(times, plan.sources, strict=True)]


def assert_exact(plan: Plan) -> None:
    """Walks all positions: shares as asked for of those that have samples left, and each epoch all of its source."""
    drawn, unit, most = plan.take(0, plan.length), plan.mixture.unit, limits(plan)
    seen, counts, units = Counter[tuple[int, int]](), Counter[int](), Counter[int]()
    asked = [plan.mixture.shares[source.name] for source in plan.sources]
    active: set[int] = set()
    for source, sample in zip(drawn.sources.tolist(), drawn.samples.tolist(), strict=True):
        left = {s for s, limit in enumerate(most) if limit is None or counts[s] < limit}
        if left != active:  # the others go on among themselves
            active, share = left, sum(asked[s] for s in left)
            measured = [np.ones(1) if unit == "samples" else plan.sources[s].measures[unit] for s in left]
            largest = max(int(values.max()) for values in measured)
            units = Counter()
        assert source in active
        assert seen[source, sample] == counts[source] // plan.sources[source].length
        seen[source, sample] += 1
        counts[source] += 1
        units[source] += 1 if unit == "samples" else int(plan.sources[source].measures[unit][sample])
        for s in active:
            assert abs(units[s] - units.total() * asked[s] / share) < largest
    assert plan.counts == tuple(counts[s] for s in range(len(plan.sources)))


@settings(max_examples=120)
@given(any_mixture())
def test_any_mixture_is_exact(made: tuple[Mixture, list[Source]]) -> None:
    mixture, given_ = made
    if isinstance(mixture.stop, str) and all(times is None for times in mixture.repeat.values()):
        with pytest.raises(UsageError, match="repeat without end"):
            plan_mixture(mixture, given_)
        return
    plan = plan_mixture(mixture, given_)
    if plan.length > 3000:  # one source goes on and on until another one has given all
        assert None in mixture.repeat.values()
        return
    assert_exact(plan)
    given_all = [count == limit for count, limit in zip(plan.counts, limits(plan), strict=True)]
    if mixture.stop == "first_exhausted":
        assert sum(given_all) == 1
    elif mixture.stop == "all_exhausted":  # nothing is lost
        assert all(done or limit is None for done, limit in zip(given_all, limits(plan), strict=True))
    else:
        assert plan.length == mixture.stop or (plan.length < mixture.stop and all(given_all))


@settings(max_examples=60)
@given(any_mixture(endless=False), st.data())
def test_positions_are_found_as_they_are_walked(made: tuple[Mixture, list[Source]], data_: st.DataObject) -> None:
    plan = plan_mixture(replace(made[0], repeat={}), made[1])
    drawn, counts = plan.take(0, plan.length), [0] * len(plan.sources)
    for position, (source, sample) in enumerate(zip(drawn.sources.tolist(), drawn.samples.tolist(), strict=True)):
        if position % 5 == 0:
            assert plan.at(position) == (plan.sources[source].name, 0, sample)
            assert plan.count_draws(position) == tuple(counts)
        counts[source] += 1
    start = data_.draw(st.integers(0, plan.length))
    stop = data_.draw(st.integers(start, plan.length))
    part = plan.take(start, stop)
    assert part.sources.tolist() == drawn.sources[start:stop].tolist()
    assert part.samples.tolist() == drawn.samples[start:stop].tolist()
    for number, source in enumerate(plan.sources):
        for name, values in source.measures.items():
            assert (
                plan.sum_measure(number, name, plan.counts[number])
                == values[drawn.samples[drawn.sources == number]].sum()
            )


def real_sources(data: Path) -> list[Source]:
    """The four real sets of interleaved documents, as an index tells of them; tokens stand in for by characters."""
    made = []
    for name, folder in zip(NAMES, ("mint_html", "mint_pdf", "mint_arxiv", "obelics"), strict=True):
        characters = []
        for path in sorted((data / "interleaved" / folder).iterdir()):
            if path.suffix == ".parquet":
                for texts in pq.read_table(path, columns=["texts"])["texts"].to_pylist():
                    characters.append(sum(len(text or "") for text in texts))
            elif path.suffix == ".tar":
                with path.open("rb") as file:
                    for sample in TarReader(file):
                        characters.append(len(sample.members["json"].data))
        made.append(Source(name, len(characters), {"characters": np.asarray(characters, np.int32)}))
    return made


@pytest.mark.parametrize("unit", ["samples", "characters"])
def test_the_four_real_sets(data: Path, unit: WeightUnit) -> None:
    given_ = real_sources(data)
    assert [source.length for source in given_] == [36, 36, 31, 36]
    plan = plan_mixture(Mixture(compute_shares(TREE), unit, dict.fromkeys(NAMES), stop=2000), given_)
    drawn = plan.take(0, 2000)
    sizes = [int(given_[s].measures["characters"][n]) if unit != "samples" else 1 for s, n in zip(*drawn, strict=True)]
    largest = max(sizes)
    units, asked = Counter[int](), [Fraction(weight, 100) for weight in (35, 25, 5, 35)]
    for source, size in zip(drawn.sources.tolist(), sizes, strict=True):
        units[source] += size
        assert all(abs(units[i] - share * units.total()) < largest for i, share in enumerate(asked))
    again = plan_mixture(Mixture(compute_shares(TREE), unit, dict.fromkeys(NAMES), stop=2000), given_)
    assert (again.take(0, 2000).samples == drawn.samples).all()
    assert again.fingerprint == plan.fingerprint
    other = plan_mixture(Mixture(compute_shares(TREE), unit, dict.fromkeys(NAMES), stop=2000, seed=1), given_)
    assert (other.take(0, 2000).samples != drawn.samples).mean() > 0.9
    assert other.fingerprint != plan.fingerprint


@given(st.integers(1, 300), st.integers(0, 3), st.data())
def test_shards_cut_anew_hold_the_same_order(length: int, seed: int, data_: st.DataObject) -> None:
    keys = np.arange(length) * 7
    plan = plan_mixture(Mixture(compute_shares({"a": 1}), seed=seed), [Source("a", length)])
    samples = plan.take(0, length).samples
    cuts = sorted(data_.draw(st.lists(st.integers(0, length), max_size=8)))  # empty shards, too
    pieces = np.split(keys, cuts)
    shards, rows = ShardRows([len(piece) for piece in pieces]).find(samples)
    assert [pieces[shard][row] for shard, row in zip(shards, rows, strict=True)] == keys[samples].tolist()


def test_other_sources_leave_a_sources_order_alone() -> None:
    alone = plan_mixture(Mixture(compute_shares({"a": 1})), [Source("a", 50)]).take(0, 50)
    both = plan_mixture(Mixture(compute_shares({"b": 2, "a": 1})), [Source("a", 50), Source("b", 40)])
    drawn = both.take(0, both.length)
    assert drawn.samples[drawn.sources == 1].tolist() == alone.samples.tolist()


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("samples", "bfd0ef37b4b65777456c83da62b41bb470901f09c72376300af6c7f080e77722"),
        ("tokens", "504a7917f92dfbe1fb4dc2cee194a57de7a2ef530ca29db7a3ccc7744fd09878"),
    ],
)
def test_golden(unit: WeightUnit, expected: str) -> None:
    """The order is a promise: a run resumed with a later version must find the same."""
    lengths = [40_000, 30_000, 5_000, 60_000]
    given_ = [
        Source(name, length, {"tokens": (np.arange(length) * 7919 % 2039).astype(np.uint16)})
        for name, length in zip(NAMES, lengths, strict=True)
    ]
    plan = plan_mixture(Mixture(compute_shares(TREE), unit), given_)
    drawn = plan.take(0, 100_000)
    data = drawn.sources.astype("<u2").tobytes() + drawn.samples.astype("<i8").tobytes()
    assert hashlib.sha256(data).hexdigest() == expected


def test_summary() -> None:
    given_ = [
        Source("a", 10, {"tokens": np.arange(10), "images": np.ones(10, np.uint8)}),
        Source("b", 100, {"tokens": np.full(100, 5)}),
    ]
    plan = plan_mixture(Mixture(compute_shares({"a": 3, "b": 1}), repeat={"a": 2}, stop=50), given_)
    summary = summarise_plan(plan)
    assert (summary.positions, summary.unit, summary.has_rounded_shares) == (50, "samples", False)
    a, b = summary.sources
    assert (a.requested_share, a.effective_share, a.actual_share, a.samples, a.epochs) == (
        Fraction(3, 4),
        Fraction(3, 4),
        Fraction(2, 5),
        20,
        2,
    )
    assert (a.totals, a.runs_out_at) == ({"tokens": 90, "images": 20}, 27)
    assert (b.samples, b.epochs, b.totals, b.runs_out_at) == (30, Fraction(3, 10), {"tokens": 150}, None)


@given(st.integers(0, 40), st.integers(0, 3))
def test_sums_of_broken_epochs(draws: int, seed: int) -> None:
    values = np.arange(13) ** 2
    plan = plan_mixture(
        Mixture(compute_shares({"a": 1}), repeat={"a": 4}, seed=seed), [Source("a", 13, {"tokens": values})]
    )
    assert plan.sum_measure(0, "tokens", draws) == values[plan.take(0, draws).samples].sum()


A, B = Source("a", 3, {"tokens": np.asarray([1, 2, 3])}), Source("b", 2)


@pytest.mark.parametrize(
    ("mixture", "given_", "message"),
    [
        (Mixture(compute_shares({"a": 1})), [], "mixture: a has a weight but no samples; sources: none"),
        (Mixture(compute_shares({"a": 1})), [A, B], "mixture: b has no weight; those with one: a"),
        (Mixture(compute_shares({"a": 1}), repeat={"c": 1}), [A], "mixture: c has no weight; those with one: a"),
        (
            Mixture(compute_shares({"a": 1}), repeat={"a": 0}),
            [A],
            "mixture: a: repeat is 0; it must be at least 1, or null for no limit",
        ),
        (Mixture(compute_shares({"a": 1})), [A, A], "mixture: two sources have the same name"),
        (Mixture(compute_shares({"a": 1}), stop=0), [A], "mixture: stop after 0 samples; it must be at least 1"),
        (Mixture(compute_shares({"a": 1})), [Source("a", 0)], "mixture: a has no samples"),
        (
            Mixture(compute_shares({"a": 1}), repeat={"a": None}, stop=10**19),
            [A],
            "mixture: more than 2**60 samples: repeat the sources less, or stop sooner",
        ),
        (
            Mixture(compute_shares({"a": 1}), "tokens", repeat={"a": None}, stop=10**12),
            [A],
            "mixture: about 1.0e+12 samples to plan, too many: stop sooner",
        ),
        (
            Mixture(compute_shares({"a": 1, "b": 1}), "tokens"),
            [A, B],
            "mixture: b is weighted by tokens, but its index has none: name a tokenizer when its shards are indexed",
        ),
        (
            Mixture(compute_shares({"a": 1}), "images"),
            [Source("a", 2, {"images": np.zeros(2, np.int8)})],
            "mixture: a is weighted by images, but all its samples have 0",
        ),
        (
            Mixture(compute_shares({"a": 1}), "images"),
            [Source("a", 2, {"images": np.asarray([1, -1])})],
            "mixture: a has a sample of -1 images",
        ),
        (
            Mixture(compute_shares({"a": 1})),
            [Source("a", 3, {"images": np.ones(2, np.int8)})],
            "mixture: a: images must be 3 integers, one for each sample",
        ),
    ],
)
def test_wrong_use_is_one_line(mixture: Mixture, given_: list[Source], message: str) -> None:
    with pytest.raises(UsageError) as error:
        plan_mixture(mixture, given_)
    assert str(error.value) == message


def test_positions_that_are_not_there() -> None:
    plan = plan_mixture(Mixture(compute_shares({"a": 1})), [A])
    assert plan.take(3, 3).samples.tolist() == []
    with pytest.raises(IndexError, match="position 3 of 3"):
        plan.at(3)
    with pytest.raises(IndexError, match="positions 0 to 4 of 3"):
        plan.take(0, 4)
