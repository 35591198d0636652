"""The footer of a Parquet file, read before Arrow touches a column: what is encrypted there ends the process in Arrow.

Arrow 26 throws a C++ exception that nothing catches (`std::terminate`) when Python asks for the metadata of a column
that is encrypted under a plain footer. The footer is in Thrift's compact protocol
(https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md), its fields are those of
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.
"""

import re
from typing import Any, BinaryIO

MAGIC = b"PAR1"
ENCRYPTED_MAGIC = b"PARE"  # of a file whose footer is encrypted
TAIL_BYTES = 64 << 10  # read at once from the end of a file, as Arrow does
MAX_DEPTH = 64  # of values within one another; a footer has seven

_ROW_GROUPS, _COLUMNS, _METADATA, _PATH, _CRYPTO = 4, 1, 3, 3, 8  # numbers of fields
_COLUMN_KEY = 2

# How the field `crypto_metadata` of a column begins, with one of its two members; other bytes may look like it.
_MAY_BE_ENCRYPTED = re.compile(rb"[\x1c\x2c\x3c\x4c\x5c\x6c\x7c\x8c](?:\x2c\x19|\x1c\x00\x00)")


class Encrypted(Exception):
    """Names what is encrypted in a file."""


def footer_of(file: BinaryIO) -> bytes | None:
    """Returns the footer's bytes, without the length and the magic behind it. None where there is none.

    Raises `Encrypted` where it is not in plain.
    """
    size = file.seek(0, 2)
    file.seek(max(0, size - TAIL_BYTES))
    tail = file.read(TAIL_BYTES)
    length = int.from_bytes(tail[-8:-4], "little")
    if tail[-4:] == ENCRYPTED_MAGIC:
        raise Encrypted("its footer")
    if tail[-4:] != MAGIC or length > size - 12:
        return None
    if length + 8 > len(tail):
        file.seek(size - 8 - length)
        return file.read(length)
    return tail[-8 - length : -8]


def encrypted_columns(footer: bytes, read: int) -> list[str]:
    """Names the columns that are encrypted. `read` bytes of the footer are metadata; behind them may be a signature.

    Raises `ValueError` for a footer that may have some and that can't be read.
    """
    if read == len(footer) and not _MAY_BE_ENCRYPTED.search(footer):
        return []
    names: dict[str, None] = {}
    for group in _Reader(footer).struct(0).get(_ROW_GROUPS) or ():
        for column in group.get(_COLUMNS) or ():
            if crypto := column.get(_CRYPTO):
                path = crypto.get(_COLUMN_KEY, {}).get(1) or column.get(_METADATA, {}).get(_PATH) or [b"?"]
                names[b".".join(path).decode("utf-8", "backslashreplace")] = None
    return list(names)


class _Reader:
    """Reads values of the compact protocol, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def struct(self, depth: int) -> dict[int, Any]:
        """Reads fields by their numbers."""
        if depth > MAX_DEPTH:
            raise ValueError("values within values without end")
        found: dict[int, Any] = {}
        number = 0
        while (header := self._byte()) != 0:
            number = number + (header >> 4) if header >> 4 else self._zigzag()
            kind = header & 15
            found[number] = kind == 1 if kind in (1, 2) else self._value(kind, depth)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2, 3):  # in a list a truth value takes a byte
            return self._byte()
        if kind in (4, 5, 6):
            return self._zigzag()
        if kind == 7:
            return self._bytes(8)
        if kind == 8:
            return self._bytes(self._varint())
        if kind in (9, 10):
            header = self._byte()
            size = self._varint() if header >> 4 == 15 else header >> 4
            self._check(size)
            return [self._value(header & 15, depth + 1) for _ in range(size)]
        if kind == 11:
            size = self._varint()
            self._check(size)
            kinds = self._byte() if size else 0
            return [(self._value(kinds >> 4, depth + 1), self._value(kinds & 15, depth + 1)) for _ in range(size)]
        if kind == 12:
            return self.struct(depth + 1)
        raise ValueError(f"a value of the unknown type {kind}")

    def _zigzag(self) -> int:
        number = self._varint()
        return (number >> 1) ^ -(number & 1)

    def _varint(self) -> int:
        number = shift = 0
        while (byte := self._byte()) & 128:
            number |= (byte & 127) << shift
            shift += 7
            if shift > 63:
                raise ValueError("a number of over 64 bits")
        return number | byte << shift

    def _byte(self) -> int:
        return self._bytes(1)[0]

    def _bytes(self, size: int) -> bytes:
        self._check(size)
        self._at += size
        return self._data[self._at - size : self._at]

    def _check(self, size: int) -> None:
        if size > len(self._data) - self._at:
            raise ValueError("its footer is cut")
