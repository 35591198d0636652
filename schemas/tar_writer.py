"""Writes WebDataset tars that are the same bytes for the same samples: time 0, owner 0, no padding beyond the format's.

Hashing runs in a thread beside the writing, so that a shard's sha256 costs no time of its own.
"""

import hashlib
import queue
import tarfile
import threading
from typing import BinaryIO

BLOCK = 512
RECORD = 20 * BLOCK  # what `tar` and Python's `tarfile` pad a whole archive to


class TarWriter:
    """Appends members to a tar and tells where their bytes lie."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._pieces: queue.Queue[bytes | None] = queue.Queue(maxsize=64)
        self._digest = hashlib.sha256()
        self._hasher = threading.Thread(target=self._hash, daemon=True)
        self._hasher.start()
        self.size = 0  # bytes written

    def add(self, name: str, data: bytes) -> int:
        """Appends one member; returns the offset of its bytes in the tar."""
        info = tarfile.TarInfo(name)
        info.size = len(data)
        self._put(info.tobuf(tarfile.PAX_FORMAT))
        offset = self.size
        self._put(data)
        if padding := -len(data) % BLOCK:
            self._put(bytes(padding))
        return offset

    def close(self) -> str:
        """Writes the end marker; returns the sha256 of the whole tar. The file stays open."""
        end = 2 * BLOCK
        self._put(bytes(end + -(self.size + end) % RECORD))
        self._pieces.put(None)
        self._hasher.join()
        return self._digest.hexdigest()

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._pieces.put(data)
        self.size += len(data)

    def _hash(self) -> None:
        while (piece := self._pieces.get()) is not None:
            self._digest.update(piece)
