"""Nested weights."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.mixture.weights import RESOLUTION, compute_integer_weights, compute_shares
from schemas.errors import UsageError

PAPER = {
    "mint": {"weight": 32.5, "of": {"html": 7, "pdf": 5, "arxiv": 1}},
    "kale": 25,
    "obelics": 17.5,
    "datacomp": 10,
    "ocr": 5,
    "grounding": 5,
    "cc12m": 1.25,
    "cc3m": 1.25,
    "sbu": 1.25,
    "vg": 1.25,
}


def test_the_papers_shares() -> None:
    flat = compute_shares(PAPER)
    assert list(flat)[:4] == ["mint.html", "mint.pdf", "mint.arxiv", "kale"]
    assert flat["mint.html"] == Fraction(175, 1000)
    assert sum(flat.values()) == 1
    assert compute_integer_weights(list(flat.values())) == [14, 10, 2, 20, 14, 8, 4, 4, 1, 1, 1, 1]


def test_a_weight_left_out_is_one_and_depth_is_free() -> None:
    nested = {"interleaved": {"weight": 50, "of": {"mint": {"of": {"html": 7, "pdf": "5"}}, "obelics": {}}}, "text": 50}
    assert compute_shares(nested) == {
        "interleaved.mint.html": Fraction(7, 48),
        "interleaved.mint.pdf": Fraction(5, 48),
        "interleaved.obelics": Fraction(1, 4),
        "text": Fraction(1, 2),
    }


def test_floats_count_as_printed() -> None:
    assert compute_shares({"a": 0.1, "b": 0.2})["a"] == Fraction(1, 3)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            {"a": {"of": {"b": 0}}},
            "a.b: weight must be over 0; leave a source that is not to be drawn from out of weights and sources",
        ),
        ({"a": -1}, "a: weight must be over 0; leave a source that is not to be drawn from out of weights and sources"),
        ({"a": "much"}, "a: weight must be a number, not 'much'"),
        ({"a": True}, "a: weight must be a number, not True"),
        ({"a": None}, "a: weight must be a number, not None"),
        ({"a": float("nan")}, "a: weight must be a number, not nan"),
        ({"a": "1/0"}, "a: weight must be a number, not '1/0'"),
        ({"a": {"wieght": 1}}, "a: unknown key wieght; a group has weight and of"),
        ({"a": {"of": {}}}, "a: names no source"),
        ({"a": {"of": 3}}, "a.of: must name sources and their weights"),
        ({}, "weights: names no source"),
        ({"a.b": 1}, "weights: 'a.b' is not a valid name: use text without full stops"),
        ({"": 1}, "weights: '' is not a valid name: use text without full stops"),
        ({"a": {"of": {"": 1}}}, "a: '' is not a valid name: use text without full stops"),
        ({3: 1}, "weights: 3 is not a valid name: use text without full stops"),
    ],
)
def test_wrong_weights_are_named(weights: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as error:
        compute_shares(weights)
    assert str(error.value) == message


def test_numbers_of_documents_are_kept_as_they_are() -> None:
    counts = [156_432_981, 3_123_123, 7]
    assert compute_integer_weights([Fraction(count, sum(counts)) for count in counts]) == counts


def test_shares_too_fine_are_rounded() -> None:
    wholes = compute_integer_weights([Fraction(count) for count in (156_432_981, 3_123_123, 7)], 2**20)
    assert wholes == [1_028_051, 20_524, 1]
    assert sum(wholes) == 2**20
    assert compute_integer_weights([Fraction(10**12), Fraction(1, 10**12), Fraction(3)]) == [RESOLUTION - 2, 1, 1]


@pytest.mark.parametrize(
    ("parts", "max_sum", "expected"),
    [
        # 33.17, 33.37 and 33.47 of 100: rounded each for itself they are 99; the one that is left goes to the last
        ((332, 334, 335), 100, [33, 33, 34]),
        # 48.55, 30.77 and 20.68: rounded each for itself they are 101; the first loses most and gets nothing
        ((486, 308, 207), 100, [48, 31, 21]),
        # 4.601, 2.7 and 2.699 of 10: the two that are left go to those that lose 0.7, and not to the first
        ((4601, 2700, 2699), 10, [4, 3, 3]),
        # equal remainders: the first has it
        ((334, 334, 333), 100, [34, 33, 33]),
        ((333, 334, 334), 100, [33, 34, 33]),
        # MINT-1T's 7:5:1 of 10: 5.38, 3.85 and 0.77, which is raised to 1
        ((7, 5, 1), 10, [5, 4, 1]),
        ((7, 5, 1), 12, [6, 5, 1]),  # 6.46, 4.62 and 0.92
        ((7, 5, 1), 13, [7, 5, 1]),
        # three are raised to 1, and the largest gives it up
        ((1_000_000, 1, 1, 1), 10, [7, 1, 1, 1]),
        ((1, 1, 1_000_000, 1), 10, [1, 1, 7, 1]),
        # 5.001 and 4.999 of 10 round to equal weights, which have no common divisor
        ((5001, 4999), 10, [1, 1]),
    ],
)
def test_the_largest_remainders_are_rounded_up(parts: tuple[int, ...], max_sum: int, expected: list[int]) -> None:
    assert compute_integer_weights([Fraction(part) for part in parts], max_sum) == expected
    assert compute_integer_weights([Fraction(part, 7) for part in parts], max_sum) == expected


@settings(max_examples=40)
@given(st.lists(st.fractions(min_value="1/100000000", max_value=10**9), min_size=1, max_size=20))
def test_whole_weights_keep_proportions(parts: list[Fraction]) -> None:
    wholes = compute_integer_weights(parts)
    assert min(wholes) >= 1
    assert sum(wholes) <= RESOLUTION
    for part, whole in zip(parts, wholes, strict=True):
        assert abs(part / sum(parts) - Fraction(whole, sum(wholes))) <= Fraction(len(parts), RESOLUTION)
