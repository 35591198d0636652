"""Writes WebDataset tars that are the same bytes for the same samples: time 0, owner 0, no padding beyond the format's.

Members are gathered into large pieces: one write and one step of the hash each. Hashing runs in a thread beside the
writing, so that a shard's sha256 costs no time of its own; a writer that is given up takes its thread with it.
"""

import hashlib
import tarfile
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO

from schemas.tar.header import BLOCK, RECORD

PIECE = 1 << 20  # bytes; small enough for a CPU's cache, large enough that calls and threads cost nothing

_PLAIN = tarfile.TarInfo().tobuf(tarfile.PAX_FORMAT)
_NAME_LENGTH, _SIZE, _TIME, _SUM, _KIND = 100, 124, 136, 148, 156
_PLAIN_SUM = sum(_PLAIN[:_SIZE] + _PLAIN[_TIME:_SUM] + _PLAIN[_KIND:]) + 8 * ord(" ")


class TarWriter:
    """Appends members to a tar and tells where their bytes lie."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._gathered: list[bytes] = []
        self._gathered_size = 0
        self._digest = hashlib.sha256()
        self._thread = ThreadPoolExecutor(1, "tar-hash")
        self._hashed: Future[None] | None = None
        self.size = 0  # bytes of the tar so far; those of the last piece are not in the file before `close`

    def add(self, name: str, data: bytes) -> int:
        """Appends one member; returns the offset of its bytes in the tar."""
        self._put(member_header(name, len(data)))
        offset = self.size
        self._put(data)
        if padding := -len(data) % BLOCK:
            self._put(bytes(padding))
        if self._gathered_size >= PIECE:
            self._write()
        return offset

    def close(self) -> str:
        """Writes the end marker; returns the sha256 of the whole tar. The file stays open."""
        end = 2 * BLOCK
        self._put(bytes(end + -(self.size + end) % RECORD))
        self._write()
        self._thread.shutdown()
        return self._digest.hexdigest()

    def _put(self, data: bytes) -> None:
        self._gathered.append(data)
        self._gathered_size += len(data)
        self.size += len(data)

    def _write(self) -> None:
        piece = b"".join(self._gathered)
        self._gathered, self._gathered_size = [], 0
        if self._hashed is not None:
            self._hashed.result()  # at most one piece waits, so that a slow hash takes no memory
        self._hashed = self._thread.submit(self._digest.update, piece)
        self._file.write(piece)


def member_header(name: str, size: int) -> bytes:
    """The header of a plain file as `tarfile` writes it (pax); its own code is slow, so it gets only odd names."""
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
