"""Reads the footer of a Parquet file before Arrow touches a column: an encrypted column makes Arrow end the process.

Arrow 26 throws a C++ exception that nothing catches (`std::terminate`) when Python asks for the metadata of a column
that is encrypted under a plain footer. The footer is in Thrift's compact protocol
(https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md); its fields are those of
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.
"""

import re
from typing import Any, BinaryIO

MAGIC = b"PAR1"
ENCRYPTED_MAGIC = b"PARE"  # magic of a file whose footer is encrypted
TAIL_BYTES = 64 << 10  # read at once from the end of a file, as Arrow does
MAX_DEPTH = 64  # levels of nested values; a footer has seven

_ROW_GROUPS, _COLUMNS, _METADATA, _PATH, _CRYPTO = 4, 1, 3, 3, 8  # field numbers in parquet.thrift
_COLUMN_KEY = 2

# Matches the start of a column's field `crypto_metadata` with one of its two members; other bytes may match as well.
_MAY_BE_ENCRYPTED = re.compile(rb"[\x1c\x2c\x3c\x4c\x5c\x6c\x7c\x8c](?:\x2c\x19|\x1c\x00\x00)")


class EncryptedError(Exception):
    """Names what is encrypted in a file."""


def read_footer(file: BinaryIO) -> bytes | None:
    """Returns the footer's bytes, without the length and the magic after it; None if there is no footer.

    Raises `EncryptedError` if the footer is encrypted.
    """
    size = file.seek(0, 2)
    file.seek(max(0, size - TAIL_BYTES))
    tail = file.read(TAIL_BYTES)
    length = int.from_bytes(tail[-8:-4], "little")
    if tail[-4:] == ENCRYPTED_MAGIC:
        raise EncryptedError("its footer")
    if tail[-4:] != MAGIC or length > size - 12:
        return None
    if length + 8 > len(tail):
        file.seek(size - 8 - length)
        return file.read(length)
    return tail[-8 - length : -8]


def find_encrypted_columns(footer: bytes, metadata_size: int) -> list[str]:
    """Names the encrypted columns. The first `metadata_size` bytes of the footer are metadata; a signature may follow.

    Raises `ValueError` for a footer that may have encrypted columns and cannot be parsed.
    """
    if metadata_size == len(footer) and not _MAY_BE_ENCRYPTED.search(footer):
        return []
    names: dict[str, None] = {}
    for group in _CompactReader(footer).read_struct(0).get(_ROW_GROUPS) or ():
        for column in group.get(_COLUMNS) or ():
            if crypto := column.get(_CRYPTO):
                path = crypto.get(_COLUMN_KEY, {}).get(1) or column.get(_METADATA, {}).get(_PATH) or [b"?"]
                names[b".".join(path).decode("utf-8", "backslashreplace")] = None
    return list(names)


class _CompactReader:
    """Reads values of Thrift's compact protocol one after another."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def read_struct(self, depth: int) -> dict[int, Any]:
        """Reads a struct as a dict of its fields by number."""
        if depth > MAX_DEPTH:
            raise ValueError("values are nested too deeply")
        found: dict[int, Any] = {}
        number = 0
        while (header := self._read_byte()) != 0:
            number = number + (header >> 4) if header >> 4 else self._read_zigzag()
            kind = header & 15
            found[number] = kind == 1 if kind in (1, 2) else self._read_value(kind, depth)
        return found

    def _read_value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2, 3):  # in a list, a boolean takes a byte
            return self._read_byte()
        if kind in (4, 5, 6):
            return self._read_zigzag()
        if kind == 7:
            return self._read_bytes(8)
        if kind == 8:
            return self._read_bytes(self._read_varint())
        if kind in (9, 10):
            header = self._read_byte()
            size = self._read_varint() if header >> 4 == 15 else header >> 4
            self._check(size)
            return [self._read_value(header & 15, depth + 1) for _ in range(size)]
        if kind == 11:
            size = self._read_varint()
            self._check(size)
            kinds = self._read_byte() if size else 0
            return [
                (self._read_value(kinds >> 4, depth + 1), self._read_value(kinds & 15, depth + 1)) for _ in range(size)
            ]
        if kind == 12:
            return self.read_struct(depth + 1)
        raise ValueError(f"a value of the unknown type {kind}")

    def _read_zigzag(self) -> int:
        number = self._read_varint()
        return (number >> 1) ^ -(number & 1)

    def _read_varint(self) -> int:
        number = shift = 0
        while (byte := self._read_byte()) & 128:
            number |= (byte & 127) << shift
            shift += 7
            if shift > 63:
                raise ValueError("a number of over 64 bits")
        return number | byte << shift

    def _read_byte(self) -> int:
        return self._read_bytes(1)[0]

    def _read_bytes(self, size: int) -> bytes:
        self._check(size)
        self._at += size
        return self._data[self._at - size : self._at]

    def _check(self, size: int) -> None:
        if size > len(self._data) - self._at:
            raise ValueError("its footer is truncated")
