"""Indexes the samples of many annotation files by their hashed attributes: 8 bytes for each attribute of a sample."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import polars as pl

Hashes = NDArray[np.uint64]

MAX_COPIES = 16
"""Files that one attribute of a row may name. The picture "image not found" is in every shard of a web crawl, and a
copy of its captions for each would fill the disk: such a row goes to all files in one copy."""

_SEEDS = {"key": 1, "uid": 2, "url": 3, "sha256": 4}
_CHUNK = 1 << 20  # entries


class SampleIndex:
    """Finds the annotation files that have a sample with one of a row's attributes.

    An entry is a 64-bit hash whose lowest bits are replaced by the number of the file, in one sorted array. Where the
    remaining bits of two values are equal, a file gets a row that it has no use for, and the look-up leaves it out.
    """

    def __init__(self, entries: Iterable[tuple[int, Hashes]], size: int, files: int) -> None:
        """Takes the hashes of each file's samples with the file's number, below `files`; at most `size` in all."""
        self.everyone = files
        """The number that stands for all files."""
        self._mask = np.uint64((1 << files.bit_length()) - 1)
        found, end = np.empty(size, np.uint64), 0
        for number, hashes in entries:
            found[end : end + len(hashes)] = self._clear(hashes) | np.uint64(number)
            end += len(hashes)
        found = found[:end]
        found.sort()
        self._entries = found[: _drop_repeats(found)]

    def route(self, attributes: Sequence[Hashes]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Returns pairs of a row and a file that it may be for, by row. `attributes` are the hashes of all rows."""
        pairs = [self._find(hashes) for hashes in attributes]
        found = np.unique(np.concatenate(pairs)).astype(np.int64)
        rows, files = found >> 32, found & 0xFFFFFFFF
        needed = (files == self.everyone) | ~np.isin(rows, rows[files == self.everyone])
        return rows[needed], files[needed]

    def _find(self, hashes: Hashes) -> Hashes:
        """Returns the pairs of one attribute, as the row's number in the upper and the file's in the lower half."""
        first = np.searchsorted(self._entries, self._clear(hashes))
        counts = np.searchsorted(self._entries, hashes | self._mask, side="right") - first
        many = np.flatnonzero(counts > MAX_COPIES)
        counts[many] = 0
        rows = np.repeat(np.arange(len(hashes), dtype=np.uint64), counts)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        files = self._entries[np.repeat(first, counts) + within] & self._mask
        to_all = many.astype(np.uint64) << np.uint64(32) | np.uint64(self.everyone)
        return np.concatenate([rows << np.uint64(32) | files, to_all])

    def _clear(self, hashes: Hashes) -> Hashes:
        return hashes & ~self._mask


def hash_attribute(values: "pl.Series", name: str, shard: str | None) -> Hashes:
    """Returns the hashes of an attribute's values, which other processes may hash otherwise. A key needs its shard."""
    if name == "key":
        values = f"{shard}/" + values
    hashes: Hashes = values.hash(_SEEDS[name]).to_numpy()
    return hashes


def hash_samples(columns: "pl.DataFrame", shard: str) -> Hashes:
    """Returns the hashes of all attributes of a shard's samples, of which any may be missing or empty."""
    present = (values.filter(values.str.len_bytes() > 0) for values in columns)
    return np.concatenate([hash_attribute(values, values.name, shard) for values in present])


def _drop_repeats(values: Hashes) -> int:
    """Moves the different values of a sorted array to its start, within the array. Returns their number."""
    end = 0
    for start in range(0, len(values), _CHUNK):
        chunk = values[start : start + _CHUNK]
        is_new = np.append(not end or chunk[0] != values[end - 1], chunk[1:] != chunk[:-1])
        kept = chunk[is_new]
        values[end : end + len(kept)] = kept
        end += len(kept)
    return end
