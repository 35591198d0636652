"""Counts the samples of a tar by its headers, without reading what is between them."""

from typing import BinaryIO

from schemas.hidden_files import is_hidden_path
from schemas.tar import header
from schemas.tar.header import BLOCK, RECORD
from schemas.tar.reader import TarReader, split_name


def count_samples(file: BinaryIO) -> int:
    """Returns the number of samples that `TarReader` finds in a file that can seek.

    It seeks from header to header. A tar with anything but plain members, such as a damaged one, is read as a whole.
    """
    found = _count_by_headers(file)
    if found is None:
        file.seek(0)
        found = sum(1 for _ in TarReader(file, hashing=False))
    return found


def _count_by_headers(file: BinaryIO) -> int | None:
    """Returns the number of samples; None for a tar that needs `TarReader`."""
    count, key = 0, None
    extensions: set[str] = set()
    while (block := file.read(BLOCK)).strip(b"\0"):
        info = header.parse_header(block)
        if info is None or info.kind not in (*header.REGULAR, header.DIRECTORY):
            return None
        file.seek(info.size + -info.size % BLOCK, 1)
        if info.kind == header.DIRECTORY or is_hidden_path(info.name):
            continue
        own, extension = split_name(info.name)
        if own != key or extension in extensions:
            count, key, extensions = count + 1, own, set()
        extensions.add(extension)
    # An end marker is two blocks of zeros. Whatever follows it is no plain tar, and neither is one that is cut.
    end = block + file.read(2 * RECORD)
    return count if len(end) >= 2 * BLOCK and not end.strip(b"\0") and not file.read(1) else None
