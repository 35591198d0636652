"""Reads a run of adjacent samples of a tar as a tar of its own."""

import io
from typing import BinaryIO, cast

from schemas.tar.header import BLOCK


def open_slice(file: BinaryIO, start: int, stop: int) -> BinaryIO:
    """Returns a tar of the bytes from `start` to `stop`. A member must begin at `start`, and one must end at `stop`."""
    file.seek(start)
    return cast(BinaryIO, _Slice(file, stop - start))


class _Slice(io.RawIOBase):
    """Reads `size` bytes from the file's position, followed by an end marker."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._left, self._end = file, size, bytes(2 * BLOCK)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Reads at most `size` bytes; none at the end. If the file ends early, so does the part."""
        size = self._left + len(self._end) if size < 0 else size
        data = self._file.read(min(size, self._left)) if self._left else b""
        self._left = self._left - len(data) if data else 0
        if not data:
            data, self._end = self._end[:size], self._end[size:]
        return data
