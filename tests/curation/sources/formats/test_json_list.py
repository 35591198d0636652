"""A long JSON list gives what `json.load` would, in pieces of any size."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.sources import SOURCES
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
    return json_list.read_entries(Slow(data, most))


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
        (b"[1,]", "entry 1 of its JSON list is not valid: "),
        (b'[{"a": "b', "entry 0 of its JSON list is not valid: "),
        (b"[1] [2]", "something comes after its JSON list"),
        (b"[" * 100_000, "entry 0 of its JSON list is nested too deep"),
        (b'["\xff"]', "it is not UTF-8"),
        (b"[\xc3", "it is not UTF-8"),
    ],
)
def test_what_is_no_list_is_refused(data: bytes, fault: str) -> None:
    with pytest.raises(UsageError) as error:
        list(json_list.read_entries(io.BytesIO(data)))
    assert str(error.value).startswith(fault)


def test_entries_before_the_fault_are_given() -> None:
    found = json_list.read_entries(io.BytesIO(b'[{"id": 1}, {"id": 2}, oops'))
    assert [next(found), next(found)] == [{"id": 1}, {"id": 2}]
    with pytest.raises(UsageError):
        next(found)


BYTES = b'x,:]}[{"\\ \n0-.e\x00\xff'
"""What is put in: of each kind that means something in JSON, one at least."""
LIST = '[{"id": 1, "a": ["é", null]}, -1.5e3, "x,]", [], 0, true ,\n{"b": {}}]'.encode()
LLAVA = b'[{"id": 0, "image": "a", "conversations": []}, {"id": 1}, {"id": 23, "x": 1.5}]'
VG = b'[{"id": 7, "regions": [{"x": 1, "phrase": "a \\u00e9"}]}, {"id": 8, "regions": []}]'
SBU = b'{"image_urls": ["http://a.b/c", "http://a.b/d"], "captions": ["one", "tw\\"o"], "ids": [1, 2]}'


def edits(data: bytes) -> Iterator[bytes]:
    """The data with a byte put in, taken out or changed, at every place."""
    for at in range(len(data) + 1):
        for byte in BYTES:
            yield data[:at] + bytes((byte,)) + data[at:]
            yield data[:at] + bytes((byte,)) + data[at + 1 :]
        yield data[:at] + data[at + 1 :]


def expected(data: bytes) -> list[Any] | None:
    """What `json.loads` finds; None for what is not a list."""
    try:
        value = json.loads(data.decode("utf-8-sig"), parse_constant=lambda _: None)
    except ValueError:
        return None
    return value if isinstance(value, list) else None


def found(data: bytes, most: int) -> list[Any] | None:
    try:
        return list(entries(data, most))
    except UsageError:
        return None


@pytest.mark.parametrize("most", [1, 2, 3, 7, 1000])
def test_one_byte_more_less_or_other_is_read_as_json_reads_it(most: int) -> None:
    """In pieces so small that every border lies beside every byte."""
    for data in edits(LIST):
        assert found(data, most) == expected(data), data


@pytest.mark.parametrize("most", [5, 1 << 20])
@pytest.mark.parametrize(("name", "data"), [("llava", LLAVA), ("visual-genome", VG), ("sbu", SBU)])
def test_sources_refuse_what_json_refuses(name: str, data: bytes, most: int) -> None:
    items = SOURCES.find(name).items
    assert items is not None
    refused = 0
    for edited in edits(data):
        try:
            value = json.loads(edited)
        except ValueError:
            value = None
        try:
            rows = list(items(Slow(edited, most)) if name != "sbu" else items(io.BytesIO(edited)))
        except UsageError:
            refused += 1
            continue
        assert value is not None, edited
        assert rows == value if name != "sbu" else len(rows) == 2, edited
    assert refused > 1000


def test_a_stray_character_loses_no_entry_without_a_word() -> None:
    """The case that was read with 40 of 100 entries lost."""
    content = [json.dumps({"id": f"{number:03d}", "text": "x" * 50}) for number in range(100)]
    data = ("[" + ", ".join(content[:40]) + "?, " + ", ".join(content[40:]) + "]").encode()
    for most in (1, 64, 1000, 1 << 20):
        with pytest.raises(UsageError) as error:
            list(entries(data, most))
        assert str(error.value) == "its JSON list breaks off after entry 39"


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("most", [1, 5, 1000])
def test_reading_may_begin_at_any_entry(mark: bytes, most: int) -> None:
    data = mark + b" " * (not mark) + LIST + b"\n"
    places = list(json_list.find_entry_offsets(Slow(data, most)))
    content = json.loads(LIST)
    assert len(places) == len(content) == 7
    assert data[places[1] :].startswith(b"-1.5e3, ")
    for number, place in enumerate(places):
        assert list(json_list.read_entries(Slow(data, most), place, number)) == content[number:]


def test_a_number_may_go_on_in_the_next_piece() -> None:
    for text in ("[1.5e-7]", "[-0.25, 12345678]", "[1.]", "[01]", "[-]", "[1e]", "[1.5.5]", "[-01, 2]", "[-1.0., 1]"):
        for most in range(1, 9):
            assert found(text.encode(), most) == expected(text.encode()), text


def test_entries_of_the_test_suites_of_others(data: Path) -> None:
    for path in sorted((data / "corpora").glob("n_*.json")):
        content = path.read_bytes()
        for whole in (content, b"[" + content + b",1]"):
            for most in (1, 3, 1000):
                with pytest.raises(UsageError):
                    list(entries(whole, most))
