"""A file read from its start to its end in large pieces, with a little looking ahead."""

import hashlib
from typing import BinaryIO

from schemas.tar import header
from schemas.tar.header import BLOCK

READ_BYTES = 8 << 20  # one large range a request: what object stores serve best


class TarStream:
    """Sequential reads of any length over large reads of the file, hashing all bytes that pass."""

    def __init__(self, file: BinaryIO, hashing: bool) -> None:
        self.file = file
        self.digest = hashlib.sha256() if hashing else None
        self._buffer, self._at = b"", 0
        self._base = 0  # offset of the buffer's first byte

    @property
    def position(self) -> int:
        return self._base + self._at

    def read(self, size: int) -> bytes:
        """The next `size` bytes; fewer only at the end of the file."""
        piece = self._buffer[self._at : self._at + size]
        self._at += len(piece)
        if len(piece) == size:
            return piece
        pieces, missing = [piece], size - len(piece)
        while missing > 0 and self._next():
            pieces.append(self._buffer[:missing])
            self._at = len(pieces[-1])
            missing -= self._at
        return b"".join(pieces)

    def give_back(self, data: bytes) -> None:
        """Undoes the reading of what was read last."""
        if self._at >= len(data):
            self._at -= len(data)
        else:
            self._buffer = data + self._buffer[self._at :]
            self._base, self._at = self.position - len(data), 0

    def ahead(self, size: int) -> bytes:
        """The next `size` bytes, fewer only at the end of the file, without passing them."""
        data = self.read(size)
        self.give_back(data)
        return data

    def to_magic(self) -> bytes:
        """Passes over what can be no header; the next block that has the magic, or less than one at the end."""
        while True:
            found = self._buffer.find(header.MAGIC, self._at + header.MAGIC_OFFSET)
            if found >= 0:
                self._at = found - header.MAGIC_OFFSET
                return self.ahead(BLOCK)
            self._at = max(self._at, len(self._buffer) - header.MAGIC_OFFSET - len(header.MAGIC) + 1)
            if len(rest := self.read(BLOCK)) < BLOCK:
                return rest
            self.give_back(rest)

    def _next(self) -> bool:
        fresh = self.file.read(READ_BYTES)
        if self.digest is not None:
            self.digest.update(fresh)
        self._base += len(self._buffer)
        self._buffer, self._at = fresh, 0
        return bool(fresh)
