"""Plans: phases, epochs, ends, and any position found."""

import hashlib
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.mixture.plan import Mixture, Plan, Source, Stop, Unit, plan_mixture
from curation.mixture.shards import ShardRows
from curation.mixture.summary import summarise
from curation.mixture.weights import shares
from schemas.errors import UsageError
from schemas.tar_reader import TarReader

TREE = {"mint": {"weight": 65, "of": {"html": 7, "pdf": 5, "arxiv": 1}}, "obelics": 35}
NAMES = ["mint.html", "mint.pdf", "mint.arxiv", "obelics"]


def sources(lengths: list[int]) -> list[Source]:
    """Sources a, b, c … with tokens and images; sizes are of all kinds, empty ones too."""
    pick = np.random.default_rng(len(lengths))
    made = []
    for number, length in enumerate(lengths):
        tokens = pick.choice([0, 1, 7, 500], length).astype(np.uint16)
        tokens[0] = 9
        made.append(Source("abcdefgh"[number], length, {"tokens": tokens, "images": np.ones(length, np.uint8)}))
    return made


def assert_exact(plan: Plan) -> None:
    """Walks all positions: shares, repeats, and every way of finding a position."""
    drawn = plan.take(0, plan.length)
    sizes, seen, drawn_of = [], Counter[tuple[int, int]](), Counter[int]()
    for position, (source, sample) in enumerate(zip(drawn.sources.tolist(), drawn.samples.tolist(), strict=True)):
        length = plan.sources[source].length
        epoch, drawn_of[source] = drawn_of[source] // length, drawn_of[source] + 1
        assert seen[source, sample] == epoch  # nothing comes again before all others of its source came
        seen[source, sample] += 1
        assert plan.at(position) == (plan.sources[source].name, epoch, sample)
        unit = plan.mixture.unit
        sizes.append(1 if unit == "samples" else int(plan.sources[source].measures[unit][sample]))
    largest = 1 if plan.mixture.unit == "samples" else max(int(s.measures["tokens"].max()) for s in plan.sources)
    for phase in plan.phases:
        total, units = sum(phase.weights), Counter[int]()
        for position in range(phase.start, phase.stop):
            units[int(drawn.sources[position])] += sizes[position]
            for source, weight in zip(phase.active, phase.weights, strict=True):
                assert abs(units[source] * total - weight * units.total()) < largest * total
    assert plan.counts == tuple((drawn.sources == number).sum() for number in range(len(plan.sources)))


@settings(max_examples=80)
@given(
    st.lists(
        st.tuples(st.integers(1, 12), st.sampled_from([1, 1, 0.5, 3, "7/3", 40]), st.sampled_from([1, 2, None])),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from(["samples", "tokens"]),
    st.one_of(st.sampled_from(["first_exhausted", "all_exhausted"]), st.integers(1, 60)),
    st.integers(0, 5),
)
def test_any_mixture_is_exact(parts: list[tuple[int, object, int | None]], unit: Unit, stop: Stop, seed: int) -> None:
    given_ = sources([length for length, _, _ in parts])
    weights = shares({source.name: weight for source, (_, weight, _) in zip(given_, parts, strict=True)})
    repeat = {source.name: times for source, (_, _, times) in zip(given_, parts, strict=True)}
    mixture = Mixture(weights, unit, repeat, stop, seed)
    if isinstance(stop, str) and all(times is None for times in repeat.values()):
        with pytest.raises(UsageError, match="repeat without end"):
            plan_mixture(mixture, given_)
        return
    plan = plan_mixture(mixture, given_)
    assert_exact(plan)
    limits = [None if times is None else times * length for length, _, times in parts]
    given_all = [count == limit for count, limit in zip(plan.counts, limits, strict=True)]
    assert all(limit is None or count <= limit for count, limit in zip(plan.counts, limits, strict=True))
    if stop == "first_exhausted":
        assert sum(given_all) == 1
        assert len(plan.phases) == 1
    elif stop == "all_exhausted":
        assert all(done or limit is None for done, limit in zip(given_all, limits, strict=True))
    else:
        assert plan.length == stop or (plan.length < stop and all(given_all))
    for start in range(0, plan.length, 9):
        assert plan.drawn(start) == tuple(np.bincount(plan.take(0, start).sources, minlength=len(parts)))


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
def test_the_four_real_sets(data: Path, unit: Unit) -> None:
    given_ = real_sources(data)
    assert [source.length for source in given_] == [36, 36, 31, 36]
    plan = plan_mixture(Mixture(shares(TREE), unit, dict.fromkeys(NAMES), stop=2000), given_)
    drawn = plan.take(0, 2000)
    sizes = [int(given_[s].measures["characters"][n]) if unit != "samples" else 1 for s, n in zip(*drawn, strict=True)]
    largest = max(sizes)
    units, asked = Counter[int](), [Fraction(weight, 100) for weight in (35, 25, 5, 35)]
    for source, size in zip(drawn.sources.tolist(), sizes, strict=True):
        units[source] += size
        assert all(abs(units[i] - share * units.total()) < largest for i, share in enumerate(asked))
    again = plan_mixture(Mixture(shares(TREE), unit, dict.fromkeys(NAMES), stop=2000), given_)
    assert (again.take(0, 2000).samples == drawn.samples).all()
    assert again.fingerprint == plan.fingerprint
    other = plan_mixture(Mixture(shares(TREE), unit, dict.fromkeys(NAMES), stop=2000, seed=1), given_)
    assert (other.take(0, 2000).samples != drawn.samples).mean() > 0.9
    assert other.fingerprint != plan.fingerprint


def test_shards_cut_anew_hold_the_same_order() -> None:
    keys = np.asarray([f"{number:09d}" for number in range(1000)])
    plan = plan_mixture(Mixture(shares({"a": 1})), [Source("a", 1000)])
    samples = plan.take(0, 1000).samples
    orders = []
    for rows in ([1000], [7] * 142 + [6], [999, 1]):
        pieces = np.split(keys, np.cumsum(rows)[:-1])
        shards, places = ShardRows(rows).find(samples)
        orders.append([pieces[shard][place] for shard, place in zip(shards, places, strict=True)])
    assert orders[0] == orders[1] == orders[2]


def test_other_sources_leave_a_sources_order_alone() -> None:
    alone = plan_mixture(Mixture(shares({"a": 1})), [Source("a", 50)]).take(0, 50)
    both = plan_mixture(Mixture(shares({"b": 2, "a": 1})), [Source("a", 50), Source("b", 40)])
    drawn = both.take(0, both.length)
    assert drawn.samples[drawn.sources == 1].tolist() == alone.samples.tolist()


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("samples", "bfd0ef37b4b65777456c83da62b41bb470901f09c72376300af6c7f080e77722"),
        ("tokens", "504a7917f92dfbe1fb4dc2cee194a57de7a2ef530ca29db7a3ccc7744fd09878"),
    ],
)
def test_golden(unit: Unit, expected: str) -> None:
    """The order is a promise: a run resumed with a later version must find the same."""
    lengths = [40_000, 30_000, 5_000, 60_000]
    given_ = [
        Source(name, length, {"tokens": (np.arange(length) * 7919 % 2039).astype(np.uint16)})
        for name, length in zip(NAMES, lengths, strict=True)
    ]
    plan = plan_mixture(Mixture(shares(TREE), unit), given_)
    drawn = plan.take(0, 100_000)
    data = drawn.sources.astype("<u2").tobytes() + drawn.samples.astype("<i8").tobytes()
    assert hashlib.sha256(data).hexdigest() == expected


def test_summary() -> None:
    given_ = [
        Source("a", 10, {"tokens": np.arange(10), "images": np.ones(10, np.uint8)}),
        Source("b", 100, {"tokens": np.full(100, 5)}),
    ]
    plan = plan_mixture(Mixture(shares({"a": 3, "b": 1}), repeat={"a": 2}, stop=50), given_)
    summary = summarise(plan)
    assert (summary.positions, summary.unit, summary.rounded) == (50, "samples", False)
    a, b = summary.sources
    assert (a.asked, a.used, a.got, a.samples, a.epochs) == (Fraction(3, 4), Fraction(3, 4), Fraction(2, 5), 20, 2)
    assert (a.totals, a.runs_out) == ({"tokens": 90, "images": 20}, 27)
    assert (b.samples, b.epochs, b.totals, b.runs_out) == (30, Fraction(3, 10), {"tokens": 150}, None)


@given(st.integers(0, 40), st.integers(0, 3))
def test_sums_of_broken_epochs(draws: int, seed: int) -> None:
    values = np.arange(13) ** 2
    plan = plan_mixture(Mixture(shares({"a": 1}), repeat={"a": 4}, seed=seed), [Source("a", 13, {"tokens": values})])
    assert plan.summed(0, "tokens", draws) == values[plan.take(0, draws).samples].sum()


A, B = Source("a", 3, {"tokens": np.asarray([1, 2, 3])}), Source("b", 2)


@pytest.mark.parametrize(
    ("mixture", "given_", "message"),
    [
        (Mixture(shares({"a": 1})), [], "mixture: a has a weight but no samples; sources: none"),
        (Mixture(shares({"a": 1})), [A, B], "mixture: b has no weight; those with one: a"),
        (Mixture(shares({"a": 1}), repeat={"c": 1}), [A], "mixture: c has no weight; those with one: a"),
        (
            Mixture(shares({"a": 1}), repeat={"a": 0}),
            [A],
            "mixture: a: repeat is 0; it must be at least 1, or null for no limit",
        ),
        (Mixture(shares({"a": 1})), [A, A], "mixture: two sources of one name"),
        (Mixture(shares({"a": 1}), stop=0), [A], "mixture: stop after 0 samples; it must be at least 1"),
        (Mixture(shares({"a": 1})), [Source("a", 0)], "mixture: a has no samples"),
        (
            Mixture(shares({"a": 1, "b": 1}), "tokens"),
            [A, B],
            "mixture: b is weighted by tokens, but its index has none: name a tokenizer when its shards are indexed",
        ),
        (
            Mixture(shares({"a": 1}), "images"),
            [Source("a", 2, {"images": np.zeros(2, np.int8)})],
            "mixture: a is weighted by images, but all its samples have 0",
        ),
        (
            Mixture(shares({"a": 1}), "images"),
            [Source("a", 2, {"images": np.asarray([1, -1])})],
            "mixture: a has a sample of -1 images",
        ),
        (
            Mixture(shares({"a": 1})),
            [Source("a", 3, {"images": np.ones(2, np.int8)})],
            "mixture: a: images are no integers, one for each of 3 samples",
        ),
    ],
)
def test_wrong_use_is_one_line(mixture: Mixture, given_: list[Source], message: str) -> None:
    with pytest.raises(UsageError) as error:
        plan_mixture(mixture, given_)
    assert str(error.value) == message


def test_positions_that_are_not_there() -> None:
    plan = plan_mixture(Mixture(shares({"a": 1})), [A])
    assert plan.take(3, 3).samples.tolist() == []
    with pytest.raises(IndexError, match="position 3 of 3"):
        plan.at(3)
    with pytest.raises(IndexError, match="positions 0 to 4 of 3"):
        plan.take(0, 4)
