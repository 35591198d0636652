"""Partitions the rows of caption files by the annotation files that they are for, in one pass over the caption files.

Without it, each annotation file would need a scan of all caption files. A row is for an annotation file if an attribute
of both has the same hash; the look-up then compares the attributes themselves. Rows are gathered in memory and written
in runs, and a killed pass continues after its last run. The partition is in `parts/` until all captions are committed.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa

from curation.captions.lookup import Row
from pipelines.inputs.caption_rows import ID_PREFIX, Texts, convert_read_errors, scan_rows, select_rows
from pipelines.output.job import Context
from pipelines.render.base_captions import BaseCaptionFiles, ShardBaseCaptions
from pipelines.render.caption_runs import (
    PARTITION,
    ROW,
    TARGET,
    Position,
    Segment,
    SegmentList,
    pack_rows,
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
from schemas.storage.parquet import UnreadableParquet, count_stored_bytes, open_parquet, read_table

SLICE_BYTES = 64 << 20
"""Stored bytes of the rows that are read at once. In memory they take more if texts repeat."""

RUN_BYTES = 128 << 20
"""Bytes of the rows that are held until a run is written. Sorting them takes as much again."""

SCAN_BYTES = 4 << 30
"""Bytes of caption files after which a run is written, whatever it holds: a killed pass reads at most these again."""

_PLAN = f"{PARTITION}/plan.json"
_FORMAT = 1  # of the partition: that of another version is made anew


@dataclass(frozen=True, slots=True)
class CaptionSlice:
    """Holds rows of one caption file, its number, their share of its bytes, and where the next slice begins."""

    file: int
    rows: pl.DataFrame
    bytes: int
    following: Position


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
        held, size, scanned = defaultdict[int, list[pl.DataFrame]](list), 0, 0
        with context.show_progress("partition captions", sum(self._bases.sizes[start.file :]), "rows") as progress:
            for found in scan_slices(self._bases, start):
                rows = route_rows(found.rows, index, self._bases.shards[found.file])
                if rows.height:
                    packed = pack_rows(rows, "uncompressed")
                    held[found.file].append(pl.read_ipc_stream(packed))
                    size += len(packed)
                scanned += found.bytes
                if size >= RUN_BYTES or scanned >= SCAN_BYTES:
                    self._write_run(held, found.following)
                    held, size, scanned = defaultdict(list), 0, 0
                progress.items += found.rows.height
                progress.advance(found.bytes)
            self._write_run(held, end)

    def _write_run(self, rows: Mapping[int, list[pl.DataFrame]], following: Position) -> None:
        self._lists.append(write_run(self._output, len(self._lists), rows, following))


def find_captions(
    output: Folder, bases: BaseCaptionFiles, segments: Sequence[Segment], samples: Collection[Identity]
) -> ShardBaseCaptions:
    """Finds the captions of samples of one annotation file, in the segments for it."""

    def read_rows() -> Iterator[tuple[str | None, list[Row[Texts]]]]:
        for file, rows in read_segments(output, segments):
            shard = bases.shards[file]
            yield shard, select_rows(rows.lazy(), [bases.column], samples, shard)

    return bases.match(samples, read_rows())


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


def scan_slices(bases: BaseCaptionFiles, start: Position) -> Iterator[CaptionSlice]:
    """Yields the rows of all caption files from a position, without those that have no caption."""
    for file in range(start.file, len(bases.files)):
        path, size, first = bases.files[file], bases.sizes[file], start.row if file == start.file else 0
        with convert_read_errors(path), open_local_copy(*split_path(path)) as local:
            parquet = open_parquet(local, path)
            stored = count_stored_bytes(parquet, bases.columns)
            step = max(1, parquet.rows * SLICE_BYTES // max(stored, 1))
            for row in range(first, parquet.rows, step):
                if (lazy := scan_rows(local, [bases.column], row, step)) is not None:
                    rows = lazy.collect().with_row_index(ROW, row).drop_nulls(f"text.{bases.column}")
                    share = size * min(step, parquet.rows - row) // parquet.rows
                    yield CaptionSlice(file, rows, share, Position(file, row + step))


def route_rows(rows: pl.DataFrame, index: SampleIndex, shard: str | None) -> pl.DataFrame:
    """Returns the rows that annotation files may need, each with the number of the file as `TARGET`."""
    names = [name for name in rows.columns if name.startswith(ID_PREFIX) and (shard or name != f"{ID_PREFIX}key")]
    hashes = [hash_attribute(rows[name], name.removeprefix(ID_PREFIX), shard) for name in names]
    found, targets = index.route(hashes)
    return rows[found].with_columns(pl.Series(TARGET, targets))
