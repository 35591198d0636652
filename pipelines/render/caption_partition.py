"""Partitions the rows of caption files by the annotation files that they are for, in one pass over the caption files.

Without it, each annotation file would need a scan of all caption files. A row is for an annotation file if an attribute
of both has the same hash; the look-up then compares the attributes themselves. Rows are gathered in memory and written
in runs, and a killed pass continues after its last run. The partition is in `parts/` until all captions are committed.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from curation.captions.lookup import ATTRIBUTES, Row
from pipelines.inputs.caption_rows import (
    Texts,
    collect_wanted,
    convert_read_errors,
    find_places,
    limit_bytes,
    list_id_columns,
    make_rows,
    read_places,
)
from pipelines.inputs.text_columns import to_text
from pipelines.output.job import Context
from pipelines.render.base_captions import BaseCaptionFiles, ShardBaseCaptions
from pipelines.render.caption_runs import (
    PARTITION,
    ROW,
    Position,
    RoutedRows,
    Segment,
    SegmentList,
    read_lists,
    read_next,
    read_segments,
    write_run,
)
from pipelines.render.sample_index import Hashes, SampleIndex, hash_attribute, hash_samples
from schemas.errors import ShardloomError
from schemas.output_set.layout import MAX_MANIFEST
from schemas.output_set.manifest import OutputFile, seal, unseal
from schemas.records.identity import Identity
from schemas.storage.folder import Folder, split_path
from schemas.storage.local_copy import open_local_copy
from schemas.storage.parquet import Parquet, UnreadableParquet, iterate_batches, open_parquet, read_table

RUN_BYTES = 128 << 20
"""Bytes of the rows that are held until a run is written, which takes as much again."""

SCAN_BYTES = 4 << 30
"""Bytes of caption files after which a run is written, whatever it holds: a killed pass reads at most these again, and
one row group."""

_CAPTION = "caption"  # column of rows, whatever the captions' column is called in the files
_PLAN = f"{PARTITION}/plan.json"
_FORMAT = 1  # of the partition: that of another version is made anew


@dataclass(frozen=True, slots=True)
class CaptionSlice:
    """Holds what a step of the pass read of one caption file, its number, and where the next step begins."""

    file: int
    following: Position
    found: RoutedRows | None = None
    rows: int = 0
    """The rows of a row group, once it is read."""
    bytes: int = 0
    """Their share of the file's bytes."""


class CaptionPartition:
    """Holds the rows of base captions by the annotation files that may need them."""

    def __init__(
        self, context: Context, bases: BaseCaptionFiles, annotations: Folder, files: Mapping[str, OutputFile]
    ) -> None:
        """Opens the partition for these files of an annotation set, given by name, and adds the rows that it lacks.

        One that was begun for more files is completed for these, because the others are committed by now. One that was
        begun for other files or captions is made anew.
        """
        self._output, self._bases = context.output, bases
        self._numbers = {name: number for number, name in enumerate(open_plan(context.output, bases, files))}
        self._lists = read_lists(self._output)
        if (start := read_next(self._lists)) != (end := Position(len(bases.files))):
            self._add_rows(context, index_samples(context, bases, annotations, files, self._numbers), start, end)
        self._segments = SegmentList(self._lists)

    def find_segments(self, name: str) -> tuple[Segment, ...]:
        """Returns where the rows for an annotation file are."""
        if name not in self._numbers:
            return ()
        return (*self._segments.find(self._numbers[name]), *self._segments.find(len(self._numbers)))

    def _add_rows(self, context: Context, index: SampleIndex, start: Position, end: Position) -> None:
        held, size, scanned = defaultdict[int, list[RoutedRows]](list), 0, 0
        with context.show_progress("partition captions", sum(self._bases.sizes[start.file :]), "rows") as progress:
            for step in scan_files(self._bases, index, start):
                if step.found is not None:
                    held[step.file].append(step.found)
                    size += step.found.bytes
                scanned += step.bytes
                if size >= RUN_BYTES or scanned >= SCAN_BYTES:
                    self._write_run(held, step.following)
                    held, size, scanned = defaultdict(list), 0, 0
                progress.items += step.rows
                progress.advance(step.bytes)
            self._write_run(held, end)

    def _write_run(self, rows: Mapping[int, list[RoutedRows]], following: Position) -> None:
        self._lists.append(write_run(self._output, len(self._lists), rows, following))


def find_captions(
    output: Folder, bases: BaseCaptionFiles, segments: Sequence[Segment], samples: Collection[Identity]
) -> ShardBaseCaptions:
    """Finds the captions of samples of one annotation file, in the segments for it."""
    attributes = collect_wanted(samples, ATTRIBUTES, None)

    def read_rows() -> Iterator[tuple[str | None, list[Row[Texts]]]]:
        for file, batches in read_segments(output, segments):
            shard = bases.shards[file]
            wanted = attributes | collect_wanted(samples, ["key"], shard)
            yield shard, select_rows(batches, wanted, shard, bases.files[file])

    return bases.match(samples, read_rows())


def select_rows(
    batches: Iterable[pa.RecordBatch], wanted: Mapping[str, pa.Array], shard: str | None, path: str
) -> list[Row[Texts]]:
    """Returns the rows of a caption file that have a wanted value, in the file's order.

    Raises `ShardloomError` as `find_rows` does, of which they are the rows.
    """

    def select() -> Iterator[pa.RecordBatch]:
        for batch in batches:
            held = {name: values for name, values in wanted.items() if name in batch.schema.names}
            yield batch.take(pa.array(find_places(batch, held)))

    with convert_read_errors(path):
        table = pa.Table.from_batches(limit_bytes(select(), path)).sort_by(ROW)
        _, *ids, _ = table.schema.names
        return [row for batch in table.to_batches() for row in make_rows(batch, ids, [_CAPTION], shard)]


def open_plan(output: Folder, bases: BaseCaptionFiles, files: Mapping[str, OutputFile]) -> list[str]:
    """Returns the names of the annotation files in the order of their numbers. Clears a partition for other files."""
    plan: dict[str, Any] = {}
    if output.exists(_PLAN):
        try:
            plan = unseal(output.read_inside(_PLAN, MAX_MANIFEST))
        except ValueError:
            plan = {}
    hashes = {name: file.sha256 for name, file in files.items()}
    asked = {"format": _FORMAT, "captions": bases.revision.sha256}
    planned: dict[str, str] = plan.pop("files", {})
    if plan != asked or not hashes.items() <= planned.items():
        output.clear(PARTITION)
        output.write(_PLAN, seal(asked | {"files": hashes}))
        planned = hashes
    return list(planned)


def index_samples(
    context: Context,
    bases: BaseCaptionFiles,
    annotations: Folder,
    files: Mapping[str, OutputFile],
    numbers: Mapping[str, int],
) -> SampleIndex:
    """Indexes the samples of annotation files, whose numbers are `numbers`, by the attributes that captions have."""
    with context.show_progress("index samples", len(files), "samples") as progress:

        def read_hashes() -> Iterator[tuple[int, Hashes]]:
            for name, file in files.items():
                columns = read_columns(annotations, file, bases.attributes)
                yield numbers[name], hash_samples(columns, name)
                progress.items += columns.height
                progress.advance(1)

        size = sum(file.rows for file in files.values()) * len(bases.attributes)
        return SampleIndex(read_hashes(), size, len(numbers))


def read_columns(annotations: Folder, file: OutputFile, names: Collection[str]) -> pl.DataFrame:
    """Reads columns of an annotation file. Raises `ShardloomError` if it is not as it was committed.

    The whole file is compared with its hash when its captions are rendered.
    """
    path = annotations.resolve_path(file.path)
    annotations.check_inside(file.path)
    try:
        with annotations.open(file.path) as opened:
            table = read_table(opened, list(names), path)
    except (pa.ArrowException, UnreadableParquet):
        table = None
    if table is None or table.num_rows != file.rows:
        raise ShardloomError(f"{path} is not as it was committed: verify the set")
    return pl.DataFrame(pl.from_arrow(table))


def scan_files(bases: BaseCaptionFiles, index: SampleIndex, start: Position) -> Iterator[CaptionSlice]:
    """Yields the rows of all caption files, from a position, that annotation files may need."""
    for file in range(start.file, len(bases.files)):
        path, first = bases.files[file], start.row if file == start.file else 0
        with convert_read_errors(path), open_local_copy(*split_path(path)) as local:
            parquet = open_parquet(local, path)
            ids, stop = list_id_columns(parquet, [bases.column]), 0
            for group in parquet.groups if ids else ():
                begin, stop = stop, stop + parquet.count_group_rows(group)
                if first >= stop:
                    continue
                pairs = route_rows(parquet, group, ids, index, bases.shards[file])
                pairs = pairs[:, pairs[0] >= first - begin]
                for last, found in read_routed(parquet, group, ids, bases.column, pairs, begin):
                    yield CaptionSlice(file, Position(file, last + 1), found)
                share = bases.sizes[file] * (stop - begin) // parquet.rows
                yield CaptionSlice(file, Position(file, stop), rows=stop - begin, bytes=share)


def route_rows(
    parquet: Parquet, group: int, ids: Sequence[str], index: SampleIndex, shard: str | None
) -> NDArray[np.int64]:
    """Returns pairs of a row of a row group and the number of an annotation file that may need it, by row: (2, n)."""
    names = [name for name in ids if name != "key" or shard is not None]
    found, start = [np.zeros((2, 0), np.int64)], 0
    for batch in iterate_batches(parquet, columns=names, groups=[group]):
        rows, targets = index.route([hash_attribute(pl.Series(to_text(batch[name])), name, shard) for name in names])
        found.append(np.stack([rows + start, targets]))
        start += batch.num_rows
    return np.concatenate(found, axis=1)


def read_routed(
    parquet: Parquet, group: int, ids: Sequence[str], column: str, pairs: NDArray[np.int64], begin: int
) -> Iterator[tuple[int, RoutedRows]]:
    """Yields the rows of such pairs by batch, each with the number in the file of its last row.

    `begin` is the number of the row group's first row.
    """
    rows, targets = pairs
    places, done = np.unique(rows), 0
    for batch in read_places(parquet, group, [*ids, column], places, column) if places.size else ():
        chosen = places[done : done + batch.num_rows]
        done += batch.num_rows
        first, stop = np.searchsorted(rows, [chosen[0], chosen[-1] + 1])
        arrays = [pa.array(chosen + begin), *(batch[name] for name in (*ids, column))]
        named = pa.RecordBatch.from_arrays(arrays, names=[ROW, *ids, _CAPTION])
        yield begin + int(chosen[-1]), RoutedRows(named, np.searchsorted(chosen, rows[first:stop]), targets[first:stop])
