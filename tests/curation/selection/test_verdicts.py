"""Each rule at its edge, all of them against plain Python, and strings that are not text."""

import math
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from curation.selection.rules import SelectionRules, is_of_kind
from curation.selection.verdicts import KEEP, ORDER, build_verdict, mask_invalid_text, parse_uids
from tests.pipelines.support.selections import SCHEMA, fault_of, pair, row, uid_of


def verdicts(rows: list[dict[str, Any]], rules: SelectionRules, threshold: float | None = None) -> list[str | None]:
    frame = pl.DataFrame(pl.from_arrow(pa.Table.from_pylist(rows, schema=SCHEMA)))
    codes = (
        frame.lazy().select(list(rules.list_columns())).select(build_verdict(rules, threshold)).collect().to_series()
    )
    assert codes.dtype == pl.UInt8
    return [None if code == KEEP else ORDER[code].value for code in codes]


@pytest.mark.parametrize(
    ("rules", "values", "reason"),
    [
        ({"min_clip_b32": 0.3}, {"clip_b32_similarity_score": 0.3}, None),
        ({"min_clip_b32": 0.3}, {"clip_b32_similarity_score": 0.2999}, "low_similarity"),
        ({"min_clip_l14": 0.3}, {"clip_l14_similarity_score": 0.2999}, "low_similarity"),
        ({"min_clip_l14": 0.3}, {"clip_l14_similarity_score": math.nan}, "missing_value"),
        ({"min_clip_l14": 0.3}, {"clip_l14_similarity_score": None}, "missing_value"),
        ({"min_clip_l14": -1}, {"clip_b32_similarity_score": None}, None),
        ({"min_side": 200}, {"original_width": 200, "original_height": 201}, None),
        ({"min_side": 200}, {"original_width": 900, "original_height": 199}, "too_small"),
        ({"min_width": 200}, {"original_width": 199}, "too_small"),
        ({"min_height": 200}, {"original_height": 199}, "too_small"),
        ({"min_height": 200}, {"original_height": None}, "missing_value"),
        ({"max_width": 200}, {"original_width": 201}, "too_large"),
        ({"max_height": 200}, {"original_height": 201}, "too_large"),
        ({"max_aspect": 3}, {"original_width": 200, "original_height": 600}, None),
        ({"max_aspect": 3}, {"original_width": 601, "original_height": 200}, "extreme_aspect"),
        ({"max_aspect": 3}, {"original_width": 601, "original_height": 0}, "extreme_aspect"),
        ({"min_characters": 5}, {"text": "\u00e9" * 5}, None),
        ({"min_characters": 6}, {"text": "\u00e9" * 5}, "too_short"),
        ({"min_characters": 1}, {"text": None}, "too_short"),
        ({"max_characters": 2}, {"text": "abc"}, "too_long"),
        ({"min_words": 3}, {"text": " two\n words "}, "too_few_words"),
        ({"min_words": 3}, {"text": "a\u3000b\tc"}, None),
        ({"max_words": 2}, {"text": "a b c"}, "too_many_words"),
        ({}, {"uid": None}, "malformed_uid"),
        ({}, {"uid": "0" * 31}, "malformed_uid"),
        ({}, {"uid": "0" * 33}, "malformed_uid"),
        ({}, {"uid": "0" * 32 + "\n"}, "malformed_uid"),
        ({}, {"uid": "\u0660" * 32}, "malformed_uid"),
        ({}, {"uid": "0123456789ABCDEFabcdef0123456789"}, None),
        ({}, {"url": None}, "missing_url"),
        ({}, {"url": " \t"}, "missing_url"),
        ({}, {"text": None, "original_width": None, "clip_l14_similarity_score": None}, None),
    ],
)
def test_edges(rules: dict[str, Any], values: dict[str, Any], reason: str | None) -> None:
    assert verdicts([row(1, **values)], SelectionRules(**rules)) == [reason]


def test_the_first_rule_is_named() -> None:
    rules = SelectionRules(min_clip_l14=0.9, min_side=5000, min_words=90)
    assert verdicts([row(1), row(1, original_width=None), row(1, url="", uid="")], rules) == [
        "low_similarity",
        "missing_value",
        "malformed_uid",
    ]


NUMBERS = st.one_of(st.none(), st.integers(0, 5))
SCORES = st.one_of(st.none(), st.just(math.nan), st.sampled_from([-0.5, 0.0, 0.1, 0.25, 0.3]))
ROWS = st.fixed_dictionaries(
    {
        "uid": st.sampled_from([uid_of(1), uid_of(2).upper(), "12", None]),
        "url": st.sampled_from(["https://example.org/1.jpg", "", None]),
        "text": st.one_of(st.none(), st.text(st.sampled_from("a\u00e9\u4e2d \t\n\u3000\x1c\u200b"), max_size=8)),
        "original_width": NUMBERS,
        "original_height": NUMBERS,
        "clip_b32_similarity_score": SCORES,
        "clip_l14_similarity_score": SCORES,
    }
)
FLOORS = st.one_of(st.none(), st.sampled_from([-0.5, 0.1, 0.3]))
BOUNDS = {f"m{which}_{what}": st.one_of(st.none(), st.integers(low, 4)) for what, low in
          (("width", 1), ("height", 1), ("characters", 0), ("words", 0)) for which in ("in", "ax")}  # fmt: skip
RULES = st.fixed_dictionaries(
    {"min_clip_b32": FLOORS, "min_clip_l14": FLOORS, "top_by": st.sampled_from(["clip_b32", "clip_l14"])}
    | {"min_side": st.one_of(st.none(), st.integers(1, 3)), "max_aspect": st.one_of(st.none(), st.floats(1, 3))}
    | {"top_fraction": st.one_of(st.none(), st.just(0.5))}
    | BOUNDS
)


@given(st.lists(ROWS, min_size=1, max_size=20), RULES)
def test_all_rules_against_plain_python(rows: list[dict[str, Any]], values: dict[str, Any]) -> None:
    for what in ("width", "height", "characters", "words"):
        low, high = values[f"min_{what}"], values[f"max_{what}"]
        if low is not None and high is not None and low > high:
            values[f"min_{what}"], values[f"max_{what}"] = high, low
    rules = SelectionRules(**values)
    threshold = None if rules.top_fraction is None else 0.25
    expected = [fault_of(found, rules, threshold, None, set()) for found in rows]
    assert verdicts(rows, rules, threshold) == expected


def test_uids_are_read_as_pythons_integers() -> None:
    uids = ["0" * 32, "f" * 32, "0123456789ABCDEFabcdef0123456789", uid_of(3)]
    assert parse_uids(pl.DataFrame({"uid": uids})).tolist() == [pair(uid) for uid in uids]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_what_is_no_text_is_found(kind: pa.DataType) -> None:
    sound = pa.array(["a", None, "\u4e2d"]).cast(kind)
    column, broken = mask_invalid_text(sound)
    assert (column.to_pylist(), broken) == (["a", None, "\u4e2d"], None)
    values = pa.StringArray.from_buffers(3, pa.array([0, 1, 3, 5], pa.int32()).buffers()[1], pa.py_buffer(b"ab\xffcd"))
    hostile = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2], pa.int32()), values, safe=False)
    column, broken = mask_invalid_text(hostile if pa.types.is_dictionary(kind) else values.view(pa.string()).cast(kind))
    assert column.to_pylist() == ["a", None, "cd"]
    assert broken is not None
    assert broken.tolist() == [False, True, False]
    assert np.asarray(broken).dtype == bool


def test_columns_that_rules_can_look_at() -> None:
    assert is_of_kind(pa.dictionary(pa.int8(), pa.large_string()), "text")
    assert is_of_kind(pa.string_view(), "text")
    assert is_of_kind(pa.float16(), "number")
    assert not is_of_kind(pa.binary(), "text")
    assert not is_of_kind(pa.dictionary(pa.int8(), pa.int64()), "number")
    assert not is_of_kind(pa.string(), "number")


@pytest.mark.parametrize(
    "values", [{"top_fraction": 0}, {"top_fraction": 1.1}, {"top_by": "text"}, {"max_aspect": 0.5}, {"min_size": 3},
               {"min_width": 5, "max_width": 4}, {"min_words": 5, "max_words": 4}]
)  # fmt: skip
def test_senseless_rules_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SelectionRules.model_validate(values)
