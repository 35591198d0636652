"""A long JSON list gives what `json.load` would, in pieces of any size."""

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.sources.formats import json_list
from schemas.errors import UsageError

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


class Slow(io.BytesIO):
    """Gives a few bytes at a time, whatever is asked for."""

    def __init__(self, data: bytes, most: int) -> None:
        super().__init__(data)
        self.most = most

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(self.most)


def entries(data: bytes, most: int) -> Iterator[Any]:
    return json_list.entries(Slow(data, most))


@given(st.lists(values, max_size=6), st.integers(1, 40), st.sampled_from([None, 1]), st.booleans())
def test_entries_are_those_of_json(content: list[Any], most: int, indent: int | None, is_ascii: bool) -> None:
    data = f" {json.dumps(content, indent=indent, ensure_ascii=is_ascii)}\n".encode("utf-8", "replace")
    assert list(entries(data, most)) == json.loads(data)


def test_a_byte_order_mark_is_passed_over() -> None:
    assert list(entries(b"\xef\xbb\xbf[1]", 1)) == [1]


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "it does not begin as a JSON list does"),
        (b"{}", "it does not begin as a JSON list does"),
        (b"[1, 2", "its JSON list breaks off after entry 1"),
        (b"[1 2]", "its JSON list breaks off after entry 0"),
        (b"[1,]", "entry 1 of its JSON list makes no sense: "),
        (b'[{"a": "b', "entry 0 of its JSON list makes no sense: "),
        (b"[1] [2]", "something comes after its JSON list"),
        (b"[" * 100_000, "entry 0 of its JSON list is nested too deep"),
        (b'["\xff"]', "it is not UTF-8"),
        (b"[\xc3", "it is not UTF-8"),
    ],
)
def test_what_is_no_list_is_refused(data: bytes, fault: str) -> None:
    with pytest.raises(UsageError) as error:
        list(json_list.entries(io.BytesIO(data)))
    assert str(error.value).startswith(fault)


def test_entries_before_the_fault_are_given() -> None:
    found = json_list.entries(io.BytesIO(b'[{"id": 1}, {"id": 2}, oops'))
    assert [next(found), next(found)] == [{"id": 1}, {"id": 2}]
    with pytest.raises(UsageError):
        next(found)
