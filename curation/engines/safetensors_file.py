"""Checks a safetensors file by its header, without torch: whether it is one, and whether all of its bytes are there.

The format: eight bytes with the header's length, little-endian, then the header in JSON, which gives the place of each
tensor's bytes behind it (https://github.com/huggingface/safetensors#format).
"""

import json
from pathlib import Path

LENGTH_BYTES = 8
MAX_HEADER = 100_000_000  # bytes; the library's own limit
NO_SAFETENSORS = "is no safetensors file, or is cut short"
LFS_POINTER = b"version https://git-lfs"  # what a clone without Git LFS has in place of a large file


def is_whole_file(path: Path) -> bool:
    """Returns whether a file of any format has content of its own: it is neither empty nor a pointer of Git LFS."""
    with path.open("rb") as file:
        return file.read(len(LFS_POINTER)) not in (b"", LFS_POINTER)


def find_fault(path: Path) -> str | None:
    """Returns what is wrong with a file, or None. Raises `OSError` if it can't be read."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(len(LFS_POINTER))
        if start == LFS_POINTER:
            return "is a pointer of Git LFS and not the file: `git lfs pull` fetches that"
        length = int.from_bytes(start[:LENGTH_BYTES], "little")
        if size < LENGTH_BYTES or length > MAX_HEADER:
            return NO_SAFETENSORS
        file.seek(LENGTH_BYTES)
        header = file.read(length)
    if len(header) < length:
        return NO_SAFETENSORS
    try:
        tensors = {name: entry for name, entry in json.loads(header).items() if name != "__metadata__"}
        end = max((int(entry["data_offsets"][1]) for entry in tensors.values()), default=0)
    except (ValueError, AttributeError, TypeError, KeyError, IndexError, RecursionError):
        return NO_SAFETENSORS
    whole = LENGTH_BYTES + length + end
    return None if size == whole else f"has {size:,} bytes, and its header says {whole:,}"
