"""Reads a file from start to end in large pieces, with some look-ahead.

A thread hashes the pieces while the caller uses them, so that on a machine with a free core a file's sha256 takes no
extra time. An abandoned stream ends its thread.
"""

import hashlib
import threading
import weakref
from queue import SimpleQueue
from typing import BinaryIO

from schemas.tar import header
from schemas.tar.header import BLOCK

READ_BYTES = 512 << 10  # bytes of a piece: it stays in a CPU's cache until it is hashed, which is 1.4 times as fast
MAX_UNHASHED = 4  # pieces, so that a slow hash does not fill the memory


class TarStream:
    """Provides sequential reads of any length over large reads of the file, and hashes all bytes."""

    def __init__(self, file: BinaryIO, hashing: bool, start: int = 0) -> None:
        self.file = file
        self._hash = _ThreadedHash() if hashing else None
        self._buffer, self._at = b"", 0
        self._base = start  # offset of the buffer's first byte

    @property
    def position(self) -> int:
        """Returns the offset in the file of the next byte to read."""
        return self._base + self._at

    def compute_sha256(self) -> str:
        """Returns the hash of all bytes read from the file, in hexadecimal; empty without `hashing`."""
        return self._hash.compute() if self._hash is not None else ""

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

    def skip(self, size: int) -> bool:
        """Passes over the next `size` bytes. Returns whether there were as many."""
        if self._at + size <= len(self._buffer):
            self._at += size
            return True
        return len(self.read(size)) == size

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
        if self._hash is not None and fresh:
            self._hash.add(fresh)
        self._base += len(self._buffer)
        self._buffer, self._at = fresh, 0
        return bool(fresh)


class _ThreadedHash:
    """Hashes pieces by SHA-256 in a thread of its own, which ends with this object."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._pieces: SimpleQueue[bytes | None] = SimpleQueue()
        self._hashed: SimpleQueue[None] = SimpleQueue()
        self._waiting = 0  # pieces that may not be hashed yet
        arguments = (self._digest, self._pieces, self._hashed)
        threading.Thread(target=_hash_pieces, args=arguments, name="tar-hash", daemon=True).start()
        weakref.finalize(self, self._pieces.put, None)

    def add(self, piece: bytes) -> None:
        """Adds the next piece; waits while `MAX_UNHASHED` others are not hashed."""
        self._pieces.put(piece)
        self._waiting += 1
        self._wait(MAX_UNHASHED)

    def compute(self) -> str:
        """Returns the hash of all pieces so far, in hexadecimal."""
        self._wait(0)
        return self._digest.hexdigest()

    def _wait(self, most: int) -> None:
        while self._waiting > most:
            self._hashed.get()
            self._waiting -= 1


def _hash_pieces(digest: "hashlib._Hash", pieces: "SimpleQueue[bytes | None]", hashed: "SimpleQueue[None]") -> None:
    while (piece := pieces.get()) is not None:
        digest.update(piece)
        hashed.put(None)
