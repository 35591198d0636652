"""A long JSON object gives what `json.load` would, in pieces of any size, from any place."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.sources.formats import json_object
from schemas.errors import UsageError
from tests.curation.sources.formats.test_json_list import Slow, edits, values

names = st.text(max_size=3)
WHOLE = '{"info": {"a": [1, "é"]}, "rows": [{"q": "x,]"}, -1.5, [] ,\n{}], "z": null}'.encode()

read_rows = json_object.read_list("rows")
find_rows = json_object.find_list_offsets("rows")


@given(st.dictionaries(names, values, max_size=5), st.integers(1, 40), st.sampled_from([None, 1]), st.booleans())
def test_members_are_those_of_json(content: dict[str, Any], most: int, indent: int | None, is_ascii: bool) -> None:
    data = f" {json.dumps(content, indent=indent, ensure_ascii=is_ascii)}\n".encode("utf-8", "replace")
    assert dict(json_object.read_members(Slow(data, most))) == json.loads(data)
    for number, place in enumerate(json_object.find_member_offsets(Slow(data, most))):
        found = list(json_object.read_members(Slow(data, most), place, number)) if place else []
        assert found == list(json.loads(data).items())[number:]


@given(
    st.dictionaries(names.filter(lambda name: name != "rows"), values, max_size=3),
    st.lists(values, max_size=4),
    st.dictionaries(st.sampled_from(["x", "y", "z"]), values, max_size=2),
    st.integers(1, 40),
)
def test_rows_are_those_of_json(before: dict[str, Any], rows: list[Any], after: dict[str, Any], most: int) -> None:
    content = {**before, "rows": rows, **{key: value for key, value in after.items() if key not in before}}
    data = json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")
    expected = json.loads(data)["rows"]
    assert list(read_rows(Slow(data, most))) == expected
    places = list(find_rows(Slow(data, most)))
    assert len(places) == len(expected)
    for number, place in enumerate(places):
        assert list(read_rows(Slow(data, most), place, number)) == expected[number:]


@pytest.mark.parametrize("most", [3])
def test_one_byte_more_less_or_other_is_read_as_json_reads_it(most: int) -> None:
    refused = 0
    for data in edits(WHOLE):
        try:
            value = json.loads(data.decode("utf-8-sig"), parse_constant=lambda _: None)
        except ValueError:
            value = None
        for read, expected in (
            (lambda file: dict(json_object.read_members(file)), value),
            (lambda file: list(read_rows(file)), value.get("rows") if isinstance(value, dict) else None),
        ):
            try:
                found = read(Slow(data, most))
            except UsageError:
                refused += 1
                assert not isinstance(expected, dict | list) or "rows" not in (value or {}), data
                continue
            assert found == expected, data
    assert refused > 1000


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "it does not begin as a JSON object does"),
        (b"[]", "it does not begin as a JSON object does"),
        (b'{"a"', "member 'a' of its JSON object has no value"),
        (b'{"a": 1', "its JSON object breaks off after member 0"),
        (b'{"a": 1,}', "member 1 of its JSON object has no name"),
        (b'{"a": 1} {}', "something comes after its JSON object"),
        (b'{"a": {"b"}}', "member 'a' is not valid: "),
        (b'{"a": 1}', "its JSON object has no member 'rows'"),
        (b"{}", "its JSON object has no member 'rows'"),
        (b'{"rows": 1}', "its member 'rows' is not a list"),
        (b'{"rows": [1], "rows": [2]}', "its JSON object has two members 'rows'"),
        (b'{"rows": [1, 2', "its JSON list breaks off after entry 1"),
        (b'{"rows": [1, oops]}', "entry 1 of its JSON list is not valid: "),
        (b'{"rows": [1]', "its JSON object breaks off after member 0"),
    ],
)
def test_what_is_refused(data: bytes, fault: str) -> None:
    with pytest.raises(UsageError) as error:
        list(read_rows(io.BytesIO(data)))
    assert str(error.value).startswith(fault)


def test_named_objects() -> None:
    read = json_object.read_named_objects("id")
    assert list(read(io.BytesIO(b'{"7": {"q": 1}, "8": 2, "9": {"id": 3}}'))) == [
        {"q": 1, "id": "7"},
        2,
        {"id": "9"},
    ]
