"""Reads DataComp's subset files: `.npy` files of the sorted uids that belong to a subset (docs/formats.md §4).

A uid is 32 hexadecimal digits; the file stores it as two unsigned 64-bit numbers, its first and its last 16 digits. The
files are as large as 22 GB, so they are mapped into memory and searched by bisection, never loaded.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.compression import SIGNATURE_BYTES, check_uncompressed
from schemas.errors import UsageError, to_one_line
from schemas.output_set.manifest import InputFile
from schemas.storage.folder import split_path
from schemas.storage.local_copy import hash_local_file, open_local_copy

UID_DTYPE = np.dtype("u8,u8")
PIECE_UIDS = 1 << 20  # uids processed at once

_MAGIC = b"\x93NUMPY"


def open_subset(path: str) -> NDArray[Any]:
    """Maps the uids into memory.

    A file of an object store is copied to the local disk for as long as the uids are in use.
    """
    with open_local_copy(*split_path(path)) as local:
        return _map_file(local, path)


def _map_file(local: Path, path: str) -> NDArray[Any]:
    try:
        with local.open("rb") as file:  # numpy takes a file without the magic for a pickle
            start = file.read(SIGNATURE_BYTES)
            if not start.startswith(_MAGIC):
                check_uncompressed(path, start)
                raise UsageError(f"{path} is not a .npy file: it does not begin with NumPy's magic bytes")
        uids: NDArray[Any] = np.load(local, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise UsageError(f"{path} is not a .npy file: {to_one_line(error)}") from None
    if uids.dtype != UID_DTYPE or uids.ndim != 1:
        raise UsageError(f"{path} is not a subset file: it holds {uids.dtype}, not one row of 'u8,u8'")
    return uids


def check_subset(path: str) -> InputFile:
    """Returns the path, size and hash of a subset file.

    Raises `UsageError` if it is not sorted: a search in it would miss uids.
    """
    with open_local_copy(*split_path(path)) as local:
        uids = _map_file(local, path)
        size, sha256 = hash_local_file(local)
    for start in range(0, len(uids), PIECE_UIDS):
        piece = uids[start : start + PIECE_UIDS + 1]
        high, low = piece["f0"], piece["f1"]
        if ((high[1:] < high[:-1]) | ((high[1:] == high[:-1]) & (low[1:] < low[:-1]))).any():
            raise UsageError(f"{path} is not sorted: sort it by numpy.save(FILE, numpy.sort(numpy.load(FILE)))")
    return InputFile(path=path, size=size, sha256=sha256)


def isin_sorted(uids: NDArray[Any], wanted: NDArray[Any]) -> NDArray[np.bool_]:
    """Returns a mask of the wanted uids that occur in a sorted array of uids."""
    order = np.argsort(wanted["f0"])  # sorted, so that consecutive searches touch the same pages
    high, low = wanted["f0"][order], wanted["f1"][order]
    first, end = np.searchsorted(uids["f0"], high, "left"), np.searchsorted(uids["f0"], high, "right")
    last = end.copy()
    while (among := np.flatnonzero(first < last)).size:  # bisects the last digits among uids with equal first digits
        middle = (first[among] + last[among]) // 2
        is_less = uids["f1"][middle] < low[among]
        first[among] = np.where(is_less, middle + 1, first[among])
        last[among] = np.where(is_less, last[among], middle)
    found = np.zeros(len(wanted), bool)
    among = np.flatnonzero(first < end)
    found[order[among]] = uids["f1"][first[among]] == low[among]
    return found


def sort_unique(uids: NDArray[Any]) -> NDArray[Any]:
    """Returns the uids sorted and without duplicates."""
    ordered = uids[_argsort(uids)]
    return ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])] if len(ordered) else ordered


class FirstSeenFilter:
    """Recognises uids that occur for the first time. Takes 16 bytes of memory per distinct uid."""

    def __init__(self) -> None:
        self._runs: list[NDArray[Any]] = []  # sorted

    def __call__(self, uids: NDArray[Any]) -> NDArray[np.bool_]:
        """Returns a mask of the uids that are new: not in an earlier call, and not repeated from an earlier row."""
        order = _argsort(uids)
        ordered = uids[order]
        is_first = np.ones(len(uids), bool)
        is_first[1:] = ordered[1:] != ordered[:-1]
        order, ordered = order[is_first], ordered[is_first]
        is_new = np.ones(len(ordered), bool)
        for run in self._runs:
            is_new &= ~isin_sorted(run, ordered)
        self._add_run(ordered[is_new])
        found = np.zeros(len(uids), bool)
        found[order[is_new]] = True
        return found

    def _add_run(self, run: NDArray[Any]) -> None:
        """Stores a sorted run, and merges it with short ones.

        Few long runs are searched faster than many short ones, but merging the longest would take memory again.
        """
        while self._runs and len(self._runs[-1]) < min(2 * len(run), PIECE_UIDS):
            run = sort_unique(np.concatenate([self._runs.pop(), run]))
        self._runs.append(run)


def _argsort(uids: NDArray[Any]) -> NDArray[np.intp]:
    """Returns the stable sort order of the uids. If the input is two sorted runs, the sort is one pass."""
    high = np.ascontiguousarray(uids["f0"])
    order = np.argsort(high, kind="stable")
    ordered = high[order]
    return np.lexsort((uids["f1"], high)) if (ordered[1:] == ordered[:-1]).any() else order
