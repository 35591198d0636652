"""Selects the rows of one metadata file in one pass: the rules judge each batch, and kept rows are written unchanged.

Arrow reads and writes a few pages at a time; polars evaluates the rules. polars' own scan reads up to whole row groups
of all columns, which may be whole files, changes the type of strings, and fails on a file with one string that is not
UTF-8.
"""

import contextlib
import functools
import hashlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curation.selection.language import detect_language
from curation.selection.rules import TEXT, UID, is_of_kind
from curation.selection.verdicts import CODES, KEEP, ORDER, build_verdict, mask_invalid_text, parse_uids
from pipelines.inputs.parquet_rows import map_type
from pipelines.inputs.shards import InputShard
from pipelines.select.selection import Selection
from schemas.errors import ShardloomError, to_one_line
from schemas.layouts.subset_file import FirstSeenFilter, isin_sorted, open_subset
from schemas.output_set.layout import DATA, QUARANTINE
from schemas.output_set.manifest import InputFile, Manifest, OutputFile
from schemas.records.quarantine import QUARANTINE_SCHEMA, QuarantinedRow, Reason, make_quarantine_table
from schemas.storage.folder import Folder
from schemas.storage.local_copy import hash_local_file, open_local_copy
from schemas.storage.parquet import iterate_batches, open_parquet, read_parquet_schema

KeepRule = Callable[[pl.DataFrame], NDArray[np.bool_]]
"""Returns which of these rows a rule keeps."""

BATCH_ROWS = 1 << 16  # rows judged at once, about 16 MB
GROUP_ROWS = 1 << 16  # rows per row group, which a reader of the output holds in memory

FAULTS = {
    Reason.MALFORMED_ROW: "a string that is not UTF-8",
    Reason.MALFORMED_UID: "the uid is not 32 hexadecimal digits",
    Reason.MISSING_URL: "no address",
    Reason.DUPLICATE_UID: "the file had this uid before",
}
"""Reasons for which a row is quarantined, with their details. Rows that a rule drops are only counted: the recipe can
find them again, and a quarantined row for each of a billion would outweigh the kept rows."""


def select_rows(selection: Selection, output: Folder, shard: InputShard) -> Manifest:
    """Writes the kept rows and the quarantine of one file. They take effect once the caller commits the manifest.

    Raises `ShardloomError` for a damaged file, and one that changed since the run began.
    """
    data, quarantine = f"{DATA}/{shard.name}.parquet", f"{QUARANTINE}/{shard.name}.parquet"
    judge, counts = RowJudge(selection), np.zeros(len(ORDER) + 1, np.int64)
    folder, name = shard.split_path()
    with open_local_copy(folder, name) as path:
        size, sha256 = hash_local_file(path)
        if size != shard.get_size():
            raise ShardloomError(f"{shard.path} has changed since the run began: rerun the command")
        with output.create(data) as data_file, output.create(quarantine) as quarantine_file:
            schema = read_output_schema(path, shard.path)
            with RowWriter(data_file, schema) as kept, RowWriter(quarantine_file, QUARANTINE_SCHEMA) as faulty:
                row = 0
                for batch in read_batches(path, shard.path):
                    verdicts = judge(batch)
                    counts += np.bincount(verdicts, minlength=len(counts))
                    kept.write(pa.Table.from_batches([batch]).filter(pa.array(verdicts == KEEP)))
                    faulty.write(quarantine_faulty_rows(batch, verdicts, row))
                    row += batch.num_rows
                outputs = [kept.finish(data), faulty.finish(quarantine)]
    left_out = {reason.value: int(count) for reason, count in zip(ORDER, counts[:KEEP], strict=True) if count}
    return Manifest.build(
        shard.name,
        selection.recipe.compute_sha256(),
        inputs=[InputFile(path=shard.path, size=size, sha256=sha256), *selection.uids, *selection.exclude],
        rows_in=int(counts.sum()),
        data=outputs[0],
        others=outputs[1:],
        reasons=left_out,
        fingerprints=selection.fingerprints,
    )


class RowJudge:
    """Judges the rows of one file, batch by batch in order; it remembers the uids seen."""

    def __init__(self, selection: Selection) -> None:
        rules = selection.recipe.rules
        self._columns = list(rules.list_columns())
        self._verdict = build_verdict(rules, selection.threshold)
        self._later_rules: list[tuple[Reason, KeepRule]] = []
        if selection.uids:
            wanted = [open_cached_subset(file) for file in selection.uids]
            self._later_rules.append((Reason.NOT_IN_SUBSET, lambda rows: is_in_any(wanted, parse_uids(rows))))
        if selection.exclude:
            unwanted = [open_cached_subset(file) for file in selection.exclude]
            self._later_rules.append((Reason.EXCLUDED, lambda rows: ~is_in_any(unwanted, parse_uids(rows))))
        if rules.languages:
            codes = frozenset(rules.languages)
            self._later_rules.append((Reason.OTHER_LANGUAGE, lambda rows: is_in_language(codes, rows)))
        first_seen = FirstSeenFilter()
        self._later_rules.append((Reason.DUPLICATE_UID, lambda rows: first_seen(parse_uids(rows))))

    def __call__(self, batch: pa.RecordBatch) -> NDArray[np.uint8]:
        """Returns the verdict on each row: an index into `ORDER`, or `KEEP`."""
        frame, broken = build_valid_frame(batch, self._columns)
        verdicts = frame.lazy().select(self._verdict).collect().to_series().to_numpy().copy()
        verdicts[broken] = CODES[Reason.MALFORMED_ROW]
        frame = frame.select(pl.col(name) for name in self._columns if name in (UID, TEXT))
        for reason, stays in self._later_rules:
            rows = np.flatnonzero(verdicts == KEEP)
            verdicts[rows[~stays(frame[rows])]] = CODES[reason]
        return verdicts


def is_in_language(codes: frozenset[str], rows: pl.DataFrame) -> NDArray[np.bool_]:
    """Returns which rows have a caption in one of the languages."""
    return np.array([detect_language(text or "") in codes for text in rows[TEXT].to_list()], bool)


@functools.cache
def open_cached_subset(file: InputFile) -> NDArray[Any]:
    """Memory-maps the uids of a subset file, once per process; copies a file of an object store first."""
    return open_subset(file.path)


def is_in_any(subsets: list[NDArray[Any]], uids: NDArray[Any]) -> NDArray[np.bool_]:
    """Returns which uids are in at least one of the subsets."""
    found = np.zeros(len(uids), bool)
    for subset in subsets:
        found |= isin_sorted(subset, uids)
    return found


def build_valid_frame(batch: pa.RecordBatch, columns: list[str]) -> tuple[pl.DataFrame, NDArray[np.bool_]]:
    """Returns these columns as a polars frame, and which rows have a string, in any column, that is not UTF-8.

    polars does not check that strings are UTF-8.
    """
    broken = np.zeros(batch.num_rows, bool)
    values = {name: batch[name] for name in columns}
    for field in batch.schema:
        if is_of_kind(field.type, "text"):
            text, faults = mask_invalid_text(batch[field.name])
            broken |= False if faults is None else faults
            if field.name in values:
                values[field.name] = text
    return pl.DataFrame(pl.from_arrow(pa.table(values))), broken


def quarantine_faulty_rows(batch: pa.RecordBatch, verdicts: NDArray[np.uint8], first: int) -> pa.Table:
    """Returns the quarantine rows of a batch. Their key is the row number in the file; `first` is the batch's first."""
    rows = []
    for at in np.flatnonzero(np.isin(verdicts, [CODES[reason] for reason in FAULTS])):
        reason = ORDER[verdicts[at]]
        uid = None if reason is Reason.MALFORMED_ROW else batch[UID][int(at)].as_py()
        key = str(first + int(at))
        rows.append(QuarantinedRow(key, uid, "select", reason.value, FAULTS[reason]))
    return make_quarantine_table(rows)


class RowWriter:
    """Writes a Parquet file in row groups of equal size, so that its bytes do not depend on the sizes of batches."""

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        self._file = HashingFile(file)
        self._writer = pq.ParquetWriter(self._file, schema, compression="zstd")
        # not `schema.empty_table()`, which fails for a UUID within a list or a struct
        self._pending = pa.Table.from_batches([], schema)
        self.rows = 0

    def write(self, table: pa.Table) -> None:
        """Appends rows."""
        self.rows += table.num_rows
        self._pending = pa.concat_tables([self._pending, table])
        while self._pending.num_rows >= GROUP_ROWS:
            self._write(self._pending.slice(0, GROUP_ROWS))
            self._pending = self._pending.slice(GROUP_ROWS).combine_chunks()

    def finish(self, name: str) -> OutputFile:
        """Writes the remaining rows. Returns the file's manifest entry. Does not close the underlying file."""
        if self._pending.num_rows:
            self._write(self._pending)
        self._writer.close()
        return OutputFile(path=name, rows=self.rows, size=self._file.tell(), sha256=self._file.digest.hexdigest())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()  # also after an error: an open writer would write to the file when it is closed

    def _write(self, table: pa.Table) -> None:
        self._writer.write_table(table.combine_chunks().unify_dictionaries(), row_group_size=GROUP_ROWS)


class HashingFile(io.RawIOBase):
    """Wraps a file that is written sequentially, and computes the SHA-256 of its bytes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._size, self.digest = file, 0, hashlib.sha256()

    def writable(self) -> bool:
        """Returns True."""
        return True

    def write(self, data: Any) -> int:
        """Appends data, and returns its number of bytes."""
        self.digest.update(data)
        self._file.write(data)
        self._size += len(data)
        return len(data)

    def tell(self) -> int:
        """Returns the number of bytes written."""
        return self._size


def read_output_schema(path: Path, shown: str) -> pa.Schema:
    """Returns the schema in which the rows of a Parquet file are kept. `shown` names the file in errors."""
    with convert_read_errors(shown):
        return widen_schema(read_parquet_schema(path, shown))


def read_batches(path: Path, shown: str) -> Iterator[pa.RecordBatch]:
    """Yields the rows of a Parquet file in batches. `shown` names the file in errors."""
    with convert_read_errors(shown):
        for batch in iterate_batches(open_parquet(path, shown), BATCH_ROWS):
            kept = widen_schema(batch.schema)
            yield batch if kept == batch.schema else batch.cast(kept)


def widen_schema(schema: pa.Schema) -> pa.Schema:
    """Replaces types whose rows Arrow cannot filter or concatenate. The stored Parquet data is the same for both."""
    fields = [field.with_type(map_type(field.type, _widen_type)) for field in schema]
    return pa.schema(fields, schema.metadata)


def _widen_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_binary_view(kind):
        return pa.large_binary()
    if pa.types.is_dictionary(kind) and kind.index_type.bit_width < 32:  # row groups together may have more values
        return pa.dictionary(pa.int32(), kind.value_type, kind.ordered)
    return kind


@contextlib.contextmanager
def convert_read_errors(shown: str) -> Iterator[None]:
    """Converts errors of Arrow into a `ShardloomError` of one line. `shown` names the file in it."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise ShardloomError(f"cannot read {shown}: {to_one_line(error)}") from None
