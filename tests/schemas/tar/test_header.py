"""Headers are parsed field by field, and one with any invalid field is no header."""

import tarfile

import pytest

from schemas.tar.header import (
    BLOCK,
    MAX_MEMBER,
    Header,
    decode_name,
    is_like_header,
    parse_extended_header,
    parse_header,
    read_raw_name,
    salvage_fields,
)
from tests.schemas.support.tars import with_sum


def make_header(name: str = "a.jpg", size: int = 7, kind: bytes = b"0", form: int = tarfile.USTAR_FORMAT) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(form)[:BLOCK]


def replace(header: bytes, at: int, field: bytes) -> bytes:
    """The header with another field, and with a right sum."""
    return with_sum(header[:at] + field + header[at + len(field) :])


@pytest.mark.parametrize(
    ("block", "header"),
    [
        (make_header(), Header("a.jpg", 7, b"0")),
        (make_header()[:-1], None),
        (replace(make_header(), 0, b"b\0"), Header("b", 7, b"0")),
        (make_header("d" * 90 + "/" + "e" * 20), Header("d" * 90 + "/" + "e" * 20, 7, b"0")),
        (replace(make_header(form=tarfile.GNU_FORMAT), 345, b"14000000000\0"), Header("a.jpg", 7, b"0")),  # a time
        (make_header("a.jpg", 7, b"\0"), Header("a.jpg", 7, b"\0")),
        (replace(make_header(), 156, b"\0"), Header("a.jpg", 7, b"\0")),
        (replace(make_header("folder/", 0), 156, b"\0"), Header("folder/", 0, b"5")),  # as before ustar
        (replace(make_header("folder/", 0), 156, b"0"), Header("folder/", 0, b"0")),
        (replace(make_header(), 156, b"2"), Header("a.jpg", 0, b"2")),
        (replace(make_header(), 124, b"0x7\0"), None),
        (replace(make_header(), 124, b"       17 \0 "), Header("a.jpg", 15, b"0")),
        (replace(make_header(), 124, b"\0" * 12), Header("a.jpg", 0, b"0")),
        (replace(make_header(), 124, b"\x80" + (300).to_bytes(11)), Header("a.jpg", 300, b"0")),
        (replace(make_header(), 124, b"\xff" * 12), None),  # base 256, below 0
        (replace(make_header(), 124, b"%011o\0" % MAX_MEMBER), Header("a.jpg", MAX_MEMBER, b"0")),
        (replace(make_header(), 124, b"%011o\0" % (MAX_MEMBER + 1)), None),
        (make_header()[:148] + b"0000000\0" + make_header()[156:], None),
    ],
)
def test_fields_of_a_header(block: bytes, header: Header | None) -> None:
    assert parse_header(block) == header


def test_a_sum_of_signed_bytes_is_right_too() -> None:
    block = make_header("né.jpg")
    plain, signed = sum(block[:148]) + sum(block[156:]) + 256, sum(block[:148]) + sum(block[156:]) + 256 - 2 * 256
    for total, found in ((plain, "né.jpg"), (signed, "né.jpg"), (signed + 1, None), (plain + 1, None)):
        header = parse_header(block[:148] + b"%06o\0 " % total + block[156:])
        assert (header and header.name) == found


def test_extended_headers_override_name_and_size() -> None:
    assert parse_header(make_header(), {"path": b"other"}) == Header("other", 7, b"0")
    assert parse_header(make_header(), {"path": b"", "size": b"00012"}) == Header("a.jpg", 12, b"0")
    assert parse_header(make_header(), {"size": b"000"}) == Header("a.jpg", 0, b"0")
    for size in (b"1x", b"-1", b"12345678901"):
        assert parse_header(make_header(), {"size": size}) is None
    assert parse_header(make_header(kind=b"x"), {"path": b"other", "size": b"9"}) == Header("a.jpg", 7, b"x")


@pytest.mark.parametrize(
    ("kind", "data", "fields"),
    [
        (b"L", b"long name\0rest", {"path": b"long name"}),
        (b"K", b"target\0", {}),
        (b"g", b"10 path=a\n", {}),
        (b"x", b"10 path=a\n11 size=12\n\0\0", {"path": b"a", "size": b"12"}),
        (b"X", b"12 path=a=b\n", {"path": b"a=b"}),
        (b"x", b"11 mtime=1\n24 GNU.sparse.major=123\n", {"GNU.sparse.major": b"123"}),
        (b"x", b"0" * 22 + b"32 path=a\n", {"path": b"a"}),
        (b"x", b"0" * 23 + b"33 path=a\n", None),
        (b"x", b"path=a\n", None),
        (b"x", b" 10 path=a\n", None),
        (b"x", b"-9 path=a\n", None),
        (b"x", b"11 path=a\n", None),  # beyond the end
        (b"x", b"9 path=a\n\n", None),  # not at the end of the line
        (b"x", b"2 path=a\n", None),
        (b"x", b"", {}),
    ],
)
def test_fields_of_extended_headers(kind: bytes, data: bytes, fields: dict[str, bytes] | None) -> None:
    assert parse_extended_header(kind, data) == fields


def test_fields_behind_a_damaged_extended_header() -> None:
    record, damaged = b"10 path=a\n", b"\0" * BLOCK
    pax, named = make_header(kind=b"x"), make_header("PaxHeader/a")
    assert salvage_fields(pax, record) == salvage_fields(named, record) == {"path": b"a"}
    assert salvage_fields(pax, b"\xff\xd8") is None
    assert salvage_fields(make_header(kind=b"L"), b"n\0") == {"path": b"n"}
    assert salvage_fields(make_header("././@LongLink"), b"n\0") == {"path": b"n"}
    assert salvage_fields(make_header(kind=b"K"), b"n\0") == salvage_fields(make_header(kind=b"g"), record) == {}
    assert salvage_fields(make_header(), record) is salvage_fields(damaged, record) is None


def test_names_of_damaged_headers() -> None:
    assert read_raw_name(replace(make_header(), 3, b"\0")) == b"a.j\0g"
    assert read_raw_name(make_header("d" * 90 + "/" + "e" * 20)) == b"d" * 90 + b"/" + b"e" * 20
    assert read_raw_name(replace(make_header(form=tarfile.GNU_FORMAT), 345, b"1400")) == b"a.jpg"
    assert decode_name(b"caf\xe9") == "caf\\xe9"
    block = make_header()
    for changed, is_like in ((b"ustar", True), (b"uxtar", True), (b"xxtar", False), (b"\0\0\0\0\0", False)):
        assert is_like_header(block[:257] + changed + block[262:]) == is_like
