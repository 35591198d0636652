"""Stores partitioned caption rows in runs: files of segments, each with rows of one caption file for one target.

A run is complete once its list of segments is written, which says where the next run begins. A segment is a stream of
Arrow's IPC format, and one range read gets it.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Literal

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.output.writer import encode_parquet
from schemas.output_set.layout import PARTS
from schemas.storage.folder import Folder
from schemas.storage.parquet import read_table

PARTITION = f"{PARTS}/captions"
"""The folder of the runs, in the output set that is in progress."""

TARGET, ROW = "target", "row"
"""Columns of rows: the number of the annotation file that a row is for, and the row's number in its caption file."""

_LIST_COLUMNS = ("run", "file", TARGET, "start", "stop")
_NEXT = b"next"  # metadata key of a list


@dataclass(frozen=True, slots=True)
class Position:
    """Says where a pass over the caption files continues: the number of a file, and of a row in it."""

    file: int = 0
    row: int = 0


@dataclass(frozen=True, slots=True)
class Segment:
    """Locates the rows of caption file `file` for one target: the bytes of a run from `start` to `stop`."""

    run: int
    file: int
    start: int
    stop: int


class SegmentList:
    """Finds the segments of a target in the lists of all runs."""

    def __init__(self, lists: Sequence[pa.Table]) -> None:
        listed = pa.concat_tables([each.replace_schema_metadata() for each in lists])
        found = {name: listed[name].to_numpy() for name in _LIST_COLUMNS}
        order = np.argsort(found[TARGET], kind="stable")
        self._columns: dict[str, NDArray[np.int64]] = {name: values[order] for name, values in found.items()}

    def find(self, target: int) -> list[Segment]:
        """Returns the segments of a target, in the order in which they were written."""
        first, last = np.searchsorted(self._columns[TARGET], [target, target + 1])
        columns = (self._columns[name][first:last].tolist() for name in ("run", "file", "start", "stop"))
        return [Segment(*values) for values in zip(*columns, strict=True)]


def read_lists(output: Folder) -> list[pa.Table]:
    """Returns the lists of the complete runs."""
    names = [name for name in output.list_files(PARTITION) if name.endswith(".parquet")]
    return [read_table(io.BytesIO(output.read(f"{PARTITION}/{name}")), path=name) for name in names]


def read_next(lists: Sequence[pa.Table]) -> Position:
    """Returns the position at which the next run begins."""
    return Position(*map(int, lists[-1].schema.metadata[_NEXT].split())) if lists else Position()


def write_run(output: Folder, run: int, rows: Mapping[int, Sequence[pl.DataFrame]], following: Position) -> pa.Table:
    """Writes the rows of caption files, given by number, and then their list, which it returns."""
    listed, end = list[tuple[int, ...]](), 0
    with output.create(_get_path(run)) as data:
        for file, frames in rows.items():
            for target, frame in _split_by_target(pl.concat(frames)):
                segment = pack_rows(frame, "lz4")
                data.write(segment)
                listed.append((run, file, target, end, end + len(segment)))
                end += len(segment)
    schema = pa.schema(
        [(name, pa.int64()) for name in _LIST_COLUMNS], {_NEXT: f"{following.file} {following.row}".encode()}
    )
    columns = np.array(listed, np.int64).reshape(-1, len(_LIST_COLUMNS)).T
    table = pa.Table.from_arrays([pa.array(column) for column in columns], schema=schema)
    output.write(f"{PARTITION}/{run:08d}.parquet", encode_parquet([table], schema))
    return table


def read_segments(output: Folder, segments: Sequence[Segment]) -> Iterator[tuple[int, pl.DataFrame]]:
    """Yields the numbers of the caption files in their order, each with its rows in these segments, in their order."""
    data = output.map_files(lambda each: output.read_range(_get_path(each.run), each.start, each.stop), segments)
    found = sorted(zip(segments, data, strict=True), key=lambda pair: pair[0].file)
    for file, pairs in groupby(found, key=lambda pair: pair[0].file):
        yield file, pl.concat([pl.read_ipc_stream(each) for _, each in pairs]).sort(ROW)


def pack_rows(frame: pl.DataFrame, compression: Literal["uncompressed", "lz4"]) -> bytes:
    """Returns rows as a stream of Arrow's IPC format, without the other rows' bytes that polars keeps in memory."""
    stream = io.BytesIO()
    frame.write_ipc_stream(stream, compression=compression, compat_level=pl.CompatLevel.oldest())
    return stream.getvalue()


def _split_by_target(frame: pl.DataFrame) -> Iterator[tuple[int, pl.DataFrame]]:
    frame = frame.sort(TARGET, maintain_order=True)
    targets = frame[TARGET].to_numpy()
    edges = [0, *(np.flatnonzero(np.diff(targets)) + 1).tolist(), len(targets)]
    for start, stop in pairwise(edges):
        yield int(targets[start]), frame.slice(start, stop - start).drop(TARGET)


def _get_path(run: int) -> str:
    return f"{PARTITION}/{run:08d}.rows"
