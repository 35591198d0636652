"""Stores partitioned caption rows in runs: files of segments, each with rows of one caption file for one target.

A run is complete once its list of segments is written, which says where the next run begins. A segment is a stream of
Arrow's IPC format, and one range read gets it.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.output.writer import encode_parquet
from schemas.output_set.layout import PARTS
from schemas.storage.folder import Folder
from schemas.storage.parquet import read_table

PARTITION = f"{PARTS}/captions"
"""The folder of the runs, in the output set that is in progress."""

ROW = "row"
"""Column of rows: the row's number in its caption file."""

_LIST_COLUMNS = ("run", "file", "target", "start", "stop")
_NEXT = b"next"  # metadata key of a list


@dataclass(frozen=True, slots=True)
class Position:
    """Says where a pass over the caption files continues: the number of a file, and of a row in it."""

    file: int = 0
    row: int = 0


@dataclass(frozen=True, slots=True)
class RoutedRows:
    """Holds rows of one caption file, and pairs of a place among them and a target that this row is for."""

    rows: pa.RecordBatch
    places: NDArray[np.int64]
    targets: NDArray[np.int64]
    """The numbers of annotation files."""

    @property
    def bytes(self) -> int:
        """Returns the bytes of the rows and pairs in memory."""
        return int(self.rows.nbytes + self.places.nbytes + self.targets.nbytes)


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
        order = np.argsort(found["target"], kind="stable")
        self._columns: dict[str, NDArray[np.int64]] = {name: values[order] for name, values in found.items()}

    def find(self, target: int) -> list[Segment]:
        """Returns the segments of a target, in the order in which they were written."""
        first, last = np.searchsorted(self._columns["target"], [target, target + 1])
        columns = (self._columns[name][first:last].tolist() for name in ("run", "file", "start", "stop"))
        return [Segment(*values) for values in zip(*columns, strict=True)]


def read_lists(output: Folder) -> list[pa.Table]:
    """Returns the lists of the complete runs."""
    names = [name for name in output.list_files(PARTITION) if name.endswith(".parquet")]
    return [read_table(io.BytesIO(output.read(f"{PARTITION}/{name}")), path=name) for name in names]


def read_next(lists: Sequence[pa.Table]) -> Position:
    """Returns the position at which the next run begins."""
    return Position(*map(int, lists[-1].schema.metadata[_NEXT].split())) if lists else Position()


def write_run(output: Folder, run: int, rows: Mapping[int, Sequence[RoutedRows]], following: Position) -> pa.Table:
    """Writes the rows of caption files, given by number, and then their list, which it returns."""
    listed, end = list[tuple[int, ...]](), 0
    with output.create(_get_path(run)) as data:
        for file, found in rows.items():
            for target, table in _split_by_target(found):
                segment = _pack_rows(table)
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


def read_segments(output: Folder, segments: Sequence[Segment]) -> Iterator[tuple[int, Iterator[pa.RecordBatch]]]:
    """Yields the numbers of the caption files in their order, each with the rows in these segments, by segment."""
    data = output.map_files(lambda each: output.read_range(_get_path(each.run), each.start, each.stop), segments)
    found = sorted(zip(segments, data, strict=True), key=lambda pair: pair[0].file)
    for file, pairs in groupby(found, key=lambda pair: pair[0].file):
        yield file, (batch for _, each in pairs for batch in pa.ipc.open_stream(each))


def _split_by_target(found: Sequence[RoutedRows]) -> Iterator[tuple[int, pa.Table]]:
    """Yields each target with its rows, in their order."""
    rows = pa.Table.from_batches([each.rows for each in found]).combine_chunks()
    starts = np.cumsum([0, *(each.rows.num_rows for each in found[:-1])])
    places = np.concatenate([each.places + start for each, start in zip(found, starts, strict=True)])
    targets = np.concatenate([each.targets for each in found])
    order = np.argsort(targets, kind="stable")
    edges = [0, *(np.flatnonzero(np.diff(targets[order])) + 1).tolist(), len(order)]
    for start, stop in pairwise(edges):
        yield int(targets[order[start]]), rows.take(pa.array(places[order[start:stop]]))


def _pack_rows(table: pa.Table) -> bytes:
    """Returns rows as a stream of Arrow's IPC format."""
    stream = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_stream(stream, table.schema, options=options) as writer:
        writer.write_table(table)
    return stream.getvalue()


def _get_path(run: int) -> str:
    return f"{PARTITION}/{run:08d}.rows"
