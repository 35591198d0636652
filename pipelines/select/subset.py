"""Writes the uids of a selection as a DataComp subset file, by an external bucket sort that needs little memory.

uids are hashes and so evenly distributed: their first digits split them into buckets (piles) of about equal size on
disk. Each pile is sorted in memory, and the piles are written one after the other.
"""

import contextlib
import itertools
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from curation.selection.rules import UID
from curation.selection.verdicts import parse_uids
from schemas.errors import ShardloomError
from schemas.layouts.subset_file import UID_DTYPE, sort_unique
from schemas.output_set.layout import DATA, read_manifests, suggest_repair
from schemas.storage.folder import Folder, split_path
from schemas.storage.parquet import UnreadableParquet, iterate_batches, open_parquet

BUCKETS = 256  # with 1.4 billion uids, each takes 88 MB


def write_subset(selection: Folder, path: str) -> tuple[int, int]:
    """Writes the uids of all committed rows. Returns the number of distinct uids, and of rows that repeat one."""
    folder, name = split_path(path)
    rows = 0
    with contextlib.ExitStack() as open_files:
        piles = [open_files.enter_context(tempfile.TemporaryFile(prefix="shardloom-")) for _ in range(BUCKETS)]
        for uids in read_uids(selection):
            rows += len(uids)
            first_digits = uids["f0"] >> np.uint64(56)
            order = np.argsort(first_digits, kind="stable")
            ends = np.searchsorted(first_digits[order], np.arange(BUCKETS + 1))
            for pile, (start, stop) in zip(piles, itertools.pairwise(ends), strict=True):
                pile.write(uids[order[start:stop]].tobytes())
        with folder.create(name) as file:
            write_header(file, 0)
            written = 0
            for pile in piles:
                pile.seek(0)
                found = sort_unique(np.frombuffer(pile.read(), UID_DTYPE))
                file.write(found.tobytes())
                written += len(found)
            file.seek(0)
            write_header(file, written)  # same length: NumPy pads the header, so that the number fits
    return written, rows - written


def read_uids(selection: Folder) -> Iterator[NDArray[Any]]:
    """Yields the uids of all committed rows, in batches. Raises `ShardloomError` for a damaged file."""
    for name in read_manifests(selection):
        path = f"{DATA}/{name}.parquet"
        with selection.open(path) as file:
            try:
                for batch in iterate_batches(open_parquet(file, selection.resolve_path(path)), columns=[UID]):
                    yield parse_uids(pl.DataFrame(pl.from_arrow(batch)).with_columns(pl.col(UID).cast(pl.String)))
            except (pa.ArrowException, UnreadableParquet):  # the folder reports an OSError
                message = f"{selection.resolve_path(path)} is not as it was committed: {suggest_repair(selection)}"
                raise ShardloomError(message) from None


def write_header(file: BinaryIO, uids: int) -> None:
    """Writes the header of an .npy file of `uids` uids."""
    description = {"descr": np.lib.format.dtype_to_descr(UID_DTYPE), "fortran_order": False, "shape": (uids,)}
    np.lib.format.write_array_header_1_0(file, description)
