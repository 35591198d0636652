"""DataComp's subset files: `.npy` of the uids that belong to a subset, sorted (docs/formats.md §4).

A uid is 32 hexadecimal digits; in such a file it is two unsigned numbers of 64 bits, its first 16 digits and its last.
The files are as large as 22 GB, so they are mapped into memory and searched, never read into it.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import UsageError, one_line
from schemas.output_set.manifest import InputFile
from schemas.storage.folder import split
from schemas.storage.local_copy import local_copy, size_and_hash

UIDS = np.dtype("u8,u8")
PIECE = 1 << 20  # uids looked at or written at once

_MAGIC = b"\x93NUMPY"


def open_subset(path: str) -> NDArray[Any]:
    """The uids. Of an object store's file there is a copy on this machine's disk for as long as they are in use."""
    with local_copy(*split(path)) as local:
        return _mapped(local, path)


def _mapped(local: Path, path: str) -> NDArray[Any]:
    try:
        with local.open("rb") as file:  # numpy takes what begins otherwise for a pickle
            if file.read(len(_MAGIC)) != _MAGIC:
                raise UsageError(f"{path} is no .npy file: it does not begin as one does")
        uids: NDArray[Any] = np.load(local, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise UsageError(f"{path} is no .npy file: {one_line(error)}") from None
    if uids.dtype != UIDS or uids.ndim != 1:
        raise UsageError(f"{path} is no subset file: it holds {uids.dtype}, not one row of 'u8,u8'")
    return uids


def check_subset(path: str) -> InputFile:
    """The file as it is. Raises `UsageError` when it is not sorted: a search in it would miss uids."""
    with local_copy(*split(path)) as local:
        uids = _mapped(local, path)
        size, sha256 = size_and_hash(local)
    for start in range(0, len(uids), PIECE):
        piece = uids[start : start + PIECE + 1]
        high, low = piece["f0"], piece["f1"]
        if ((high[1:] < high[:-1]) | ((high[1:] == high[:-1]) & (low[1:] < low[:-1]))).any():
            raise UsageError(f"{path} is not sorted: numpy.save(FILE, numpy.sort(numpy.load(FILE))) sorts one")
    return InputFile(path=path, size=size, sha256=sha256)


def contains(uids: NDArray[Any], wanted: NDArray[Any]) -> NDArray[np.bool_]:
    """Which of the wanted uids are in a sorted array of them."""
    order = np.argsort(wanted["f0"])  # so that neighbours are looked for in the same pages
    high, low = wanted["f0"][order], wanted["f1"][order]
    first, end = np.searchsorted(uids["f0"], high, "left"), np.searchsorted(uids["f0"], high, "right")
    last = end.copy()
    while (among := np.flatnonzero(first < last)).size:  # the last digits, where several uids have the same first ones
        middle = (first[among] + last[among]) // 2
        is_less = uids["f1"][middle] < low[among]
        first[among] = np.where(is_less, middle + 1, first[among])
        last[among] = np.where(is_less, last[among], middle)
    found = np.zeros(len(wanted), bool)
    among = np.flatnonzero(first < end)
    found[order[among]] = uids["f1"][first[among]] == low[among]
    return found


def sorted_uids(uids: NDArray[Any]) -> NDArray[Any]:
    """The same, sorted, each once."""
    ordered = uids[_order(uids)]
    return ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])] if len(ordered) else ordered


class FirstSeen:
    """Tells uids that come for the first time. Takes 16 bytes for each of them."""

    def __init__(self) -> None:
        self._runs: list[NDArray[Any]] = []  # sorted

    def __call__(self, uids: NDArray[Any]) -> NDArray[np.bool_]:
        """Which of these are new: neither among those of an earlier call, nor repeated from further up."""
        order = _order(uids)
        ordered = uids[order]
        is_first = np.ones(len(uids), bool)
        is_first[1:] = ordered[1:] != ordered[:-1]
        order, ordered = order[is_first], ordered[is_first]
        is_new = np.ones(len(ordered), bool)
        for run in self._runs:
            is_new &= ~contains(run, ordered)
        self._keep(ordered[is_new])
        found = np.zeros(len(uids), bool)
        found[order[is_new]] = True
        return found

    def _keep(self, run: NDArray[Any]) -> None:
        """Few long runs are searched faster than many; but merging those takes memory again."""
        while self._runs and len(self._runs[-1]) < min(2 * len(run), PIECE):
            run = sorted_uids(np.concatenate([self._runs.pop(), run]))
        self._runs.append(run)


def _order(uids: NDArray[Any]) -> NDArray[np.intp]:
    """The places of the uids in their order, equal ones as they come. Of two sorted runs in a row it costs one pass."""
    high = np.ascontiguousarray(uids["f0"])
    order = np.argsort(high, kind="stable")
    ordered = high[order]
    return np.lexsort((uids["f1"], high)) if (ordered[1:] == ordered[:-1]).any() else order
