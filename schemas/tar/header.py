"""The 512-byte headers of a tar, ustar and pax and GNU, read strictly.

Python's `tarfile` takes `-7`, `1_0` and `0o7` for octal numbers, and applies the sum in interpreted code twice; here a
number is octal digits or base 256, and a header of which any part makes no sense is no header at all.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

BLOCK = 512
RECORD = 20 * BLOCK  # what `tar` and Python's `tarfile` pad a whole archive to
MAX_EXTENDED_HEADER = 1 << 20  # a long name or a pax header of more than 1 MiB is hostile
MAX_MEMBER = 1 << 30  # a header that promises more than 1 GiB for one file of a sample is taken for a damaged one
MAX_DIGITS = 24  # of the length of a pax record, in which leading zeros are allowed
MAGIC, MAGIC_OFFSET = b"ustar", 257
NAME_LENGTH = 100
USTAR = MAGIC + b"\0"

REGULAR = (b"0", b"\0", b"7")
DIRECTORY, SPARSE, LONG_NAME = b"5", b"S", b"L"
PAX = (b"x", b"X")  # X is Solaris's
EXTENDED = (*PAX, LONG_NAME, b"K", b"g")  # K is a long link target, g a pax header for all that follows
WITHOUT_DATA = (b"1", b"2", b"3", b"4", b"5", b"6")  # links, devices, directories, FIFOs, whatever their size says

_NO_FIELDS: Mapping[str, bytes] = MappingProxyType({})
_OCTAL = re.compile(rb" *([0-7]*)(?:[ \0].*)?", re.DOTALL)


class Header(NamedTuple):
    """What a header says of its member. `size` is that of the data that follows it in the tar."""

    name: str
    size: int
    kind: bytes


def parse(block: bytes, fields: Mapping[str, bytes] = _NO_FIELDS) -> Header | None:
    """The header in a block, with the word of the extended headers before it; None when its sum or size is wrong."""
    if len(block) < BLOCK:
        return None
    stored, size = _number(block[148:156]), _number(block[124:136])
    total = sum(block) - sum(block[148:156]) + 8 * ord(" ")
    if stored != total and stored != _signed(block, total):
        return None
    kind = block[156:157]
    name = block[:NAME_LENGTH].partition(b"\0")[0]
    if block[345] and block[257:263] == USTAR:  # GNU tars keep times where ustar has the rest of a long name
        name = block[345:500].partition(b"\0")[0] + b"/" + name
    if kind == b"\0" and name.endswith(b"/"):
        kind = DIRECTORY  # as tars from before ustar have it
    if fields and kind not in EXTENDED:
        name = fields.get("path") or name
        size = _pax_size(fields, size)
    if size is None or size > MAX_MEMBER:
        return None
    return Header(text(name), 0 if kind in WITHOUT_DATA else size, kind)


def written_name(block: bytes) -> bytes:
    """The bytes of a header's name, even of a damaged one: what follows a stray NUL is kept."""
    name = block[:NAME_LENGTH].rstrip(b"\0")
    if block[257:263] == USTAR and (prefix := block[345:500].rstrip(b"\0")):
        return prefix + b"/" + name
    return name


def text(name: bytes) -> str:
    """A name as a string that Arrow can hold. Unlike U+FFFD, escapes keep two names apart that are not UTF-8."""
    return name.decode("utf-8", "backslashreplace")


def pax_fields(kind: bytes, data: bytes) -> dict[str, bytes] | None:
    """What an extended header says of the next member: `path`, `size`, `GNU.sparse...`; None if it makes no sense.

    Long link targets are of no interest, and pax headers for a whole archive say nothing of names.
    """
    if kind == LONG_NAME:
        return {"path": data.partition(b"\0")[0]}
    fields: dict[str, bytes] = {}
    at = 0
    while kind in PAX and at < len(data) and data[at]:
        space = data.find(b" ", at, at + MAX_DIGITS + 1)
        digits = data[at:space] if space > at else b""
        if not digits.isdigit():  # a record without a length would be passed over for ever
            return None
        end = at + int(digits)
        if not space < end <= len(data) or data[end - 1] != ord("\n"):
            return None
        keyword, _, value = data[space + 1 : end - 1].partition(b"=")
        if keyword in (b"path", b"size") or keyword.startswith(b"GNU.sparse"):
            fields[text(keyword)] = value
        at = end
    return fields


def salvaged_fields(block: bytes, behind: bytes) -> dict[str, bytes] | None:
    """The fields of an extended header whose own header is damaged, from the bytes behind it; None if it was none."""
    kind, name = block[156:157], block[:NAME_LENGTH]
    if kind in (b"K", b"g"):
        return {}
    if kind in PAX or b"PaxHeader" in name:
        return pax_fields(PAX[0], behind) if behind[:1].isdigit() else None
    if kind == LONG_NAME or name.startswith(b"././@Long"):
        return pax_fields(LONG_NAME, behind)
    return None


def is_like_header(block: bytes) -> bool:
    """Whether a damaged block was a header once: its magic is there but for one byte."""
    magic = block[MAGIC_OFFSET : MAGIC_OFFSET + len(MAGIC)]
    return sum(one != other for one, other in zip(magic, MAGIC, strict=True)) <= 1


def _number(field: bytes) -> int | None:
    if field[0] & 0x80:
        negative = field[0] & 0x40
        return None if negative else int.from_bytes(field) - (0x80 << 8 * (len(field) - 1))
    match = _OCTAL.fullmatch(field)
    return int(match[1] or b"0", 8) if match else None


def _pax_size(fields: Mapping[str, bytes], size: int | None) -> int | None:
    digits = fields.get("size", b"")
    if not digits:
        return size
    significant = digits.lstrip(b"0") or b"0"  # some writers fill a field of a fixed width
    return int(significant) if digits.isdigit() and len(significant) <= 10 else None


def _signed(block: bytes, total: int) -> int:
    """The sum as some old tars have it, over signed bytes."""
    return total - 256 * sum(byte > 127 for byte in block[:148] + block[156:])
