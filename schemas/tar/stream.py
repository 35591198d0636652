"""Reads a file from start to end in large pieces, with some look-ahead."""

import hashlib
from typing import BinaryIO

from schemas.tar import header
from schemas.tar.header import BLOCK

READ_BYTES = 8 << 20  # per request: object stores serve large ranges best


class TarStream:
    """Provides sequential reads of any length over large reads of the file, and hashes all bytes."""

    def __init__(self, file: BinaryIO, hashing: bool, start: int = 0) -> None:
        self.file = file
        self.digest = hashlib.sha256() if hashing else None
        self._buffer, self._at = b"", 0
        self._base = start  # offset of the buffer's first byte

    @property
    def position(self) -> int:
        """Returns the offset in the file of the next byte to read."""
        return self._base + self._at

    def read(self, size: int) -> bytes:
        """Reads the next `size` bytes; fewer only at the end of the file."""
        piece = self._buffer[self._at : self._at + size]
        self._at += len(piece)
        if len(piece) == size:
            return piece
        pieces, missing = [piece], size - len(piece)
        while missing > 0 and self._fill_buffer():
            pieces.append(self._buffer[:missing])
            self._at = len(pieces[-1])
            missing -= self._at
        return b"".join(pieces)

    def unread(self, data: bytes) -> None:
        """Puts back the bytes that were read last."""
        if self._at >= len(data):
            self._at -= len(data)
        else:
            self._buffer = data + self._buffer[self._at :]
            self._base, self._at = self.position - len(data), 0

    def peek(self, size: int) -> bytes:
        """Returns the next `size` bytes without consuming them; fewer only at the end of the file."""
        data = self.read(size)
        self.unread(data)
        return data

    def skip_to_magic(self) -> bytes:
        """Skips to the next block with the magic and returns it without consuming it; less than a block at the end."""
        while True:
            found = self._buffer.find(header.MAGIC, self._at + header.MAGIC_OFFSET)
            if found >= 0:
                self._at = found - header.MAGIC_OFFSET
                return self.peek(BLOCK)
            self._at = max(self._at, len(self._buffer) - header.MAGIC_OFFSET - len(header.MAGIC) + 1)
            if len(rest := self.read(BLOCK)) < BLOCK:
                return rest
            self.unread(rest)

    def _fill_buffer(self) -> bool:
        fresh = self.file.read(READ_BYTES)
        if self.digest is not None:
            self.digest.update(fresh)
        self._base += len(self._buffer)
        self._buffer, self._at = fresh, 0
        return bool(fresh)
