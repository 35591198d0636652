"""Writes WebDataset tars deterministically: time 0, owner 0, and only the padding that the format requires.

Members are gathered into large pieces, so that a piece is one write and one update of the hash. A thread hashes while
the caller writes, so that a shard's sha256 takes no extra time. An abandoned writer ends its thread.
"""

import hashlib
import tarfile
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO

from schemas.tar.header import BLOCK, RECORD

PIECE_BYTES = 1 << 20  # bytes; fits a CPU's cache, and makes the overhead of calls and threads negligible

_PLAIN = tarfile.TarInfo().tobuf(tarfile.PAX_FORMAT)
_NAME_LENGTH, _SIZE, _TIME, _SUM, _KIND = 100, 124, 136, 148, 156
_PLAIN_SUM = sum(_PLAIN[:_SIZE] + _PLAIN[_TIME:_SUM] + _PLAIN[_KIND:]) + 8 * ord(" ")


class TarWriter:
    """Appends members to a tar and returns the offsets of their bytes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._pending: list[bytes] = []
        self._pending_size = 0
        self._digest = hashlib.sha256()
        self._thread = ThreadPoolExecutor(1, "tar-hash")
        self._hash_task: Future[None] | None = None
        self.size = 0  # bytes of the tar so far; `close` writes the last piece to the file

    def add(self, name: str, data: bytes) -> int:
        """Appends one member; returns the offset of its bytes in the tar."""
        self._append(make_member_header(name, len(data)))
        offset = self.size
        self._append(data)
        if padding := -len(data) % BLOCK:
            self._append(bytes(padding))
        if self._pending_size >= PIECE_BYTES:
            self._flush()
        return offset

    def close(self) -> str:
        """Writes the end marker; returns the sha256 of the whole tar in hexadecimal. The file stays open."""
        end = 2 * BLOCK
        self._append(bytes(end + -(self.size + end) % RECORD))
        self._flush()
        self._thread.shutdown()
        return self._digest.hexdigest()

    def _append(self, data: bytes) -> None:
        self._pending.append(data)
        self._pending_size += len(data)
        self.size += len(data)

    def _flush(self) -> None:
        piece = b"".join(self._pending)
        self._pending, self._pending_size = [], 0
        if self._hash_task is not None:
            self._hash_task.result()  # at most one piece waits, so that a slow hash does not fill the memory
        self._hash_task = self._thread.submit(self._digest.update, piece)
        self._file.write(piece)


def make_member_header(name: str, size: int) -> bytes:
    """Returns the header of a regular file as `tarfile` writes it (pax).

    `tarfile` itself is slow, so it makes the headers of unusual names and sizes only.
    """
    if len(name) > _NAME_LENGTH or not name.isascii() or size >= 8**11:
        info = tarfile.TarInfo(name)
        info.size = size
        return info.tobuf(tarfile.PAX_FORMAT)
    plain, digits = name.encode(), b"%011o\0" % size
    total = _PLAIN_SUM + sum(plain) + sum(digits)
    filled = plain.ljust(_NAME_LENGTH, b"\0")
    return b"".join(
        (filled, _PLAIN[_NAME_LENGTH:_SIZE], digits, _PLAIN[_TIME:_SUM], b"%06o\0 " % total, _PLAIN[_KIND:])
    )
