"""Parses the 512-byte headers of a tar (ustar, pax and GNU) strictly.

Python's `tarfile` accepts `-7`, `1_0` and `0o7` as octal numbers, and computes the checksum twice in interpreted code.
Here a number is octal digits or base 256, and a header with any invalid field is no header.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple
from zlib import adler32

BLOCK = 512
RECORD = 20 * BLOCK  # `tar` and Python's `tarfile` pad an archive to a multiple of this
MAX_EXTENDED_HEADER = 1 << 20  # bytes; a longer name or pax header is hostile
MAX_MEMBER = 1 << 30  # bytes; a header with a larger size is treated as damaged
MAX_DIGITS = 24  # digits of a pax record's length, which may have leading zeros
MAGIC, MAGIC_OFFSET = b"ustar", 257
NAME_LENGTH = 100
USTAR = MAGIC + b"\0"

REGULAR = (b"0", b"\0", b"7")
DIRECTORY, SPARSE, LONG_NAME = b"5", b"S", b"L"
PAX = (b"x", b"X")  # X is Solaris's form of x
EXTENDED = (*PAX, LONG_NAME, b"K", b"g")  # K is a long link target, g a pax header for the whole archive
WITHOUT_DATA = (b"1", b"2", b"3", b"4", b"5", b"6")  # links, devices, directories, FIFOs, for any size

_NO_FIELDS: Mapping[str, bytes] = MappingProxyType({})
_OCTAL = re.compile(rb" *([0-7]*)(?:[ \0].*)?", re.DOTALL)


class Header(NamedTuple):
    """Holds the parsed fields of a member's header. `size` is the number of data bytes that follow the header."""

    name: str
    size: int
    kind: bytes


def parse_header(block: bytes, fields: Mapping[str, bytes] = _NO_FIELDS) -> Header | None:
    """Parses the header in a block, overridden by the `fields` of the extended headers before it.

    Returns None if the checksum, a number or the size is invalid.
    """
    if len(block) < BLOCK:
        return None
    stored, size = _parse_number(block[148:156]), _parse_number(block[124:136])
    total = _sum_bytes(block) - sum(block[148:156]) + 8 * ord(" ")
    if stored != total and stored != _sum_signed_bytes(block, total):
        return None
    kind = block[156:157]
    name = block[:NAME_LENGTH].partition(b"\0")[0]
    if block[345] and block[257:263] == USTAR:  # ustar's prefix of a long name; GNU tars store times there
        name = block[345:500].partition(b"\0")[0] + b"/" + name
    if kind == b"\0" and name.endswith(b"/"):
        kind = DIRECTORY  # the form of tars older than ustar
    if fields and kind not in EXTENDED:
        name = fields.get("path") or name
        size = _parse_pax_size(fields, size)
    if size is None or size > MAX_MEMBER:
        return None
    return Header(decode_name(name), 0 if kind in WITHOUT_DATA else size, kind)


def read_raw_name(block: bytes) -> bytes:
    """Returns the bytes of a header's name, even if the header is damaged: bytes after a stray NUL are kept."""
    name = block[:NAME_LENGTH].rstrip(b"\0")
    if block[257:263] == USTAR and (prefix := block[345:500].rstrip(b"\0")):
        return prefix + b"/" + name
    return name


def decode_name(name: bytes) -> str:
    """Decodes a name to a string that Arrow can store.

    Invalid UTF-8 is escaped: unlike U+FFFD, escapes keep different names different.
    """
    return name.decode("utf-8", "backslashreplace")


def parse_extended_header(kind: bytes, data: bytes) -> dict[str, bytes] | None:
    """Parses the fields of an extended header that apply to the next member: `path`, `size`, `GNU.sparse...`.

    Returns None if the header is malformed. Long link targets are ignored, and so are pax headers of a whole archive,
    which hold no names.
    """
    if kind == LONG_NAME:
        return {"path": data.partition(b"\0")[0]}
    fields: dict[str, bytes] = {}
    at = 0
    while kind in PAX and at < len(data) and data[at]:
        space = data.find(b" ", at, at + MAX_DIGITS + 1)
        digits = data[at:space] if space > at else b""
        if not digits.isdigit():  # a record without a length would loop forever
            return None
        end = at + int(digits)
        if not space < end <= len(data) or data[end - 1] != ord("\n"):
            return None
        keyword, _, value = data[space + 1 : end - 1].partition(b"=")
        if keyword in (b"path", b"size") or keyword.startswith(b"GNU.sparse"):
            fields[decode_name(keyword)] = value
        at = end
    return fields


def salvage_fields(block: bytes, behind: bytes) -> dict[str, bytes] | None:
    """Recovers the fields of an extended header whose own header is damaged, from the bytes after it.

    Returns None if it was not an extended header.
    """
    kind, name = block[156:157], block[:NAME_LENGTH]
    if kind in (b"K", b"g"):
        return {}
    if kind in PAX or b"PaxHeader" in name:
        return parse_extended_header(PAX[0], behind) if behind[:1].isdigit() else None
    if kind == LONG_NAME or name.startswith(b"././@Long"):
        return parse_extended_header(LONG_NAME, behind)
    return None


def is_like_header(block: bytes) -> bool:
    """Returns whether a damaged block was once a header: its magic differs in at most one byte."""
    magic = block[MAGIC_OFFSET : MAGIC_OFFSET + len(MAGIC)]
    return sum(one != other for one, other in zip(magic, MAGIC, strict=True)) <= 1


def _parse_number(field: bytes) -> int | None:
    digits = field.rstrip(b"\0 ")
    if digits.isdigit() and b"8" not in digits and b"9" not in digits:  # nearly all are so, and need no pattern
        return int(digits, 8)
    if field[0] & 0x80:
        negative = field[0] & 0x40
        return None if negative else int.from_bytes(field) - (0x80 << 8 * (len(field) - 1))
    match = _OCTAL.fullmatch(field)
    return int(match[1] or b"0", 8) if match else None


def _parse_pax_size(fields: Mapping[str, bytes], size: int | None) -> int | None:
    digits = fields.get("size", b"")
    if not digits:
        return size
    significant = digits.lstrip(b"0") or b"0"  # some writers pad the field to a fixed width
    return int(significant) if digits.isdigit() and len(significant) <= 10 else None


def _sum_bytes(block: bytes) -> int:
    """Returns the sum of a block's bytes.

    The lower half of an Adler-32 is the sum plus one, modulo 65521, which half a block can't reach; this is five times
    as fast as `sum`.
    """
    return (adler32(block[:256]) & 0xFFFF) + (adler32(block[256:]) & 0xFFFF) - 2


def _sum_signed_bytes(block: bytes, total: int) -> int:
    """Returns the checksum over signed bytes, as some old tars store it."""
    return total - 256 * sum(byte > 127 for byte in block[:148] + block[156:])
