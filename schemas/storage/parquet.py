"""Reads Parquet files on the calling thread, within a budget of decompressed bytes: a few kilobytes may hold gigabytes.

All Parquet files are opened here, whoever wrote them. A string that occurs a million times is stored once, and zeros
shrink a thousandfold; so batches are cut by their size in memory, and rows that fit in no batch are refused by name.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.errors import UsageError, to_one_line
from schemas.storage.parquet_footer import MAGIC, EncryptedError, find_encrypted_columns, read_footer

PAGE_BUFFER = 1 << 20
"""Bytes of the read buffer; without one, Arrow reads whole column chunks."""

BATCH_ROWS = 1 << 16
"""Rows of a batch, if they are small."""

BATCH_BYTES = 128 << 20
"""Decompressed bytes of a batch of more than one row: two such batches and their Python objects fit on any machine."""

ROW_BYTES = 512 << 20
"""Bytes of one row: eight times the longest document that is accepted (`MAX_JSON`), with its images."""

TABLE_BYTES = 1 << 30
"""Bytes of a table that is loaded whole, such as a shard's annotations, which take some 200 MB for 10,000 images."""

EXPANDED_BYTES = 512 << 20
"""Bytes of one column of a row group above which its expansion is checked."""

EXPANSION = 100
"""The largest expansion of such a column that is accepted: texts expand 3 to 10 times, logs 30 times."""

_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}  # bytes of a value
_REPEATING_ENCODINGS = {
    "PLAIN_DICTIONARY",
    "RLE_DICTIONARY",
    "DELTA_BYTE_ARRAY",
}  # encodings that store a repeated value once
_PER_VALUE = 8  # bytes of offsets, levels and validity
_LONG_VALUE_BYTES = 64 << 10  # bytes of a value in a list above which rows are measured before they are read


class UnreadableParquet(UsageError):
    """Reports a file that is not Parquet, or one that is refused: it is encrypted, or expands over the budget."""


class NotParquet(UnreadableParquet):
    """Reports a file that is not Parquet or is damaged."""


@dataclass(frozen=True, slots=True)
class Parquet:
    """Holds an open Parquet file."""

    path: str
    """The path for error messages."""
    file: Any
    _source: BinaryIO | Path

    @property
    def schema(self) -> pa.Schema:
        """Returns the Arrow schema of the columns."""
        return self.file.schema_arrow

    @property
    def rows(self) -> int:
        """Returns the number of rows, from the footer."""
        return int(self.file.metadata.num_rows)

    @property
    def groups(self) -> range:
        """Returns the numbers of the row groups."""
        return range(self.file.metadata.num_row_groups)

    def count_group_rows(self, group: int) -> int:
        """Returns the number of rows of a row group."""
        return int(self.file.metadata.row_group(group).num_rows)

    def open_with_dictionary(self, leaf: str) -> Any:
        """Opens the file again with one string column as Arrow dictionaries, which hold repeated values once."""
        return pq.ParquetFile(
            self._source, metadata=self.file.metadata, read_dictionary=[leaf], buffer_size=PAGE_BUFFER, pre_buffer=False
        )


def open_parquet(source: BinaryIO | Path, path: str, pre_buffer: bool = False) -> Parquet:
    """Opens a file.

    `pre_buffer` reads whole column chunks, for stores that would otherwise get a request for each page. Raises
    `NotParquet` if it is not a Parquet file, and `UnreadableParquet` if a column is encrypted.
    """
    try:
        metadata = _read_metadata(source)
        file = pq.ParquetFile(source, metadata=metadata, buffer_size=PAGE_BUFFER, pre_buffer=pre_buffer)
        _ = file.schema_arrow.names  # raises if a name is not UTF-8
    except (pa.ArrowException, ValueError) as error:
        raise NotParquet(f"{path} is no Parquet file: {to_one_line(error)}") from None
    except EncryptedError as error:
        raise UnreadableParquet(f"{path} is encrypted ({error}): decrypt it first") from None
    return Parquet(path, file, source)


def read_parquet_schema(source: BinaryIO | Path, path: str) -> pa.Schema:
    """Returns the Arrow schema of a file. Raises `UnreadableParquet`."""
    return open_parquet(source, path).schema


def check_sizes(parquet: Parquet, columns: Sequence[str] | None = None, groups: Sequence[int] | None = None) -> None:
    """Raises `UnreadableParquet` if a row group expands over the budget, judged by the footer alone."""
    for group in parquet.groups if groups is None else groups:
        _list_chunks(parquet, group, columns)


def count_stored_bytes(parquet: Parquet, columns: Sequence[str] | None = None) -> int:
    """Returns the bytes of all rows of these columns as stored, uncompressed. Raises as `check_sizes` does."""
    return sum(chunk.stored for group in parquet.groups for chunk in _list_chunks(parquet, group, columns))


def iterate_batches(
    parquet: Parquet,
    rows: int = BATCH_ROWS,
    columns: Sequence[str] | None = None,
    groups: Sequence[int] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Yields batches of up to `rows` rows and about `BATCH_BYTES`; a larger batch has one row.

    Raises `UnreadableParquet` for a row over `ROW_BYTES`, and Arrow's errors for a damaged file.
    """
    run: list[int] = []  # consecutive small row groups, read together
    for group in parquet.groups if groups is None else groups:
        bound = _bound_bytes(parquet, group, columns)
        if bound <= EXPANDED_BYTES and bound * rows <= BATCH_BYTES * parquet.count_group_rows(group):
            run.append(group)
            continue
        yield from _iterate_groups(parquet, rows, columns, run)
        run = []
        if bound <= BATCH_BYTES:
            yield from _iterate_groups(parquet, rows, columns, [group])
        else:
            yield from _iterate_growing_batches(parquet, rows, columns, group, bound)
    yield from _iterate_groups(parquet, rows, columns, run)


def read_table(
    source: BinaryIO | Path, columns: Sequence[str] | None = None, path: str = "the file", max_bytes: int = TABLE_BYTES
) -> pa.Table:
    """Reads all rows, of some columns or of all.

    Raises `UnreadableParquet`, also if the table takes more than `max_bytes` bytes in memory.

    Arrow's own `read_table` leaves threads that hold the Python file. If the interpreter ends before they release it,
    the process dies by `std::terminate` after all its work is done: 25 of 400 did on a busy machine.
    """
    parquet = open_parquet(source, path)
    if sum(_bound_bytes(parquet, group, columns) for group in parquet.groups) <= max_bytes:
        return parquet.file.read(None if columns is None else list(columns), use_threads=False)
    return _gather_batches(parquet, iterate_batches(parquet, columns=columns), max_bytes)


def read_group(parquet: Parquet, group: int) -> pa.Table:
    """Reads all rows of a row group. Raises `UnreadableParquet` if they take more than `TABLE_BYTES` in memory."""
    if _bound_bytes(parquet, group, None) <= TABLE_BYTES:
        return parquet.file.read_row_group(group, use_threads=False)
    return _gather_batches(parquet, iterate_batches(parquet, groups=[group]), TABLE_BYTES)


def _gather_batches(parquet: Parquet, batches: Iterator[pa.RecordBatch], most: int) -> pa.Table:
    found, size = [], 0
    for batch in batches:
        size += batch.nbytes
        if size > most:
            raise _make_budget_error(parquet, "its rows take more memory", most)
        found.append(batch)
    return pa.Table.from_batches(found)


def _read_metadata(source: BinaryIO | Path) -> Any:
    """Returns the metadata of a file without encrypted columns; None leaves it to Arrow to name the fault."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            footer = read_footer(file)
    else:
        footer = read_footer(source)
    if footer is None:
        return None
    try:
        metadata = pq.read_metadata(io.BytesIO(MAGIC + footer + len(footer).to_bytes(4, "little") + MAGIC))
    except OSError as error:  # Arrow's error for an invalid footer
        raise ValueError(str(error)) from None
    if names := find_encrypted_columns(footer, metadata.serialized_size):
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise EncryptedError(f"columns {', '.join(names[:3])}{more}")
    return metadata


def _iterate_groups(
    parquet: Parquet, rows: int, columns: Sequence[str] | None, groups: list[int]
) -> Iterator[pa.RecordBatch]:
    if groups:
        chosen = None if columns is None else list(columns)
        yield from parquet.file.iter_batches(rows, row_groups=groups, columns=chosen, use_threads=False)


def _iterate_growing_batches(
    parquet: Parquet, rows: int, columns: Sequence[str] | None, group: int, bound: int
) -> Iterator[pa.RecordBatch]:
    """Yields batches that grow from one row while they fit: the size of rows is known only after some are read."""
    most = min(rows, max(1, BATCH_BYTES * parquet.count_group_rows(group) // bound))
    now, chosen = 1, None if columns is None else list(columns)
    for batch in parquet.file.iter_batches(now, row_groups=[group], columns=chosen, use_threads=False):
        if batch.num_rows == 1 and batch.nbytes > ROW_BYTES:
            raise _make_budget_error(parquet, f"a row of row group {group} has {batch.nbytes:,} bytes", ROW_BYTES)
        yield batch
        now = max(1, min(2 * now, most, BATCH_BYTES * batch.num_rows // max(batch.nbytes, 1)))
        parquet.file.reader.set_batch_size(now)  # takes effect from the next batch


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Describes a column of a row group by the footer."""

    leaf: str
    values: int
    size: int  # most bytes in memory, if no value occurs more often than it is stored
    stored: int  # bytes of its pages, uncompressed; no value is longer
    repeats: bool
    is_nested: bool


def _list_chunks(parquet: Parquet, group: int, columns: Sequence[str] | None) -> list[_Chunk]:
    """Describes the columns of a row group. Raises `UnreadableParquet` if one expands over the budget."""
    found = []
    metadata = parquet.file.metadata.row_group(group)
    for number in range(metadata.num_columns):
        column, leaf = metadata.column(number), parquet.file.metadata.schema.column(number)
        if columns is not None and not any(leaf.path == name or leaf.path.startswith(f"{name}.") for name in columns):
            continue
        stored, packed, values = column.total_uncompressed_size, column.total_compressed_size, column.num_values
        if stored > EXPANDED_BYTES and stored > EXPANSION * packed:
            what = f"column {leaf.path} of row group {group} expands from {packed:,} to {stored:,} bytes"
            raise _make_budget_error(parquet, what, EXPANDED_BYTES)
        is_text = column.physical_type == "BYTE_ARRAY"
        width = leaf.length if column.physical_type == "FIXED_LEN_BYTE_ARRAY" else _WIDTHS.get(column.physical_type, 0)
        repeats = is_text and not _REPEATING_ENCODINGS.isdisjoint(column.encodings)
        size = _PER_VALUE * values + (stored if is_text else width * values)
        found.append(_Chunk(leaf.path, values, size, stored, repeats, leaf.max_repetition_level > 0))
    return found


def _bound_bytes(parquet: Parquet, group: int, columns: Sequence[str] | None) -> int:
    """Returns an upper bound of a row group's bytes in memory; reads repeated values if the footer is not enough."""
    chunks = _list_chunks(parquet, group, columns)
    sizes = {chunk: chunk.size + chunk.values * chunk.stored * chunk.repeats for chunk in chunks}
    for chunk in sorted((chunk for chunk in chunks if chunk.repeats), key=lambda chunk: -sizes[chunk]):
        if sum(sizes.values()) <= BATCH_BYTES or sizes[chunk] <= BATCH_BYTES // len(chunks):
            break
        sizes[chunk] = chunk.size + chunk.values * _find_longest(parquet, group, chunk)
    return sum(sizes.values())


def _find_longest(parquet: Parquet, group: int, chunk: _Chunk) -> int:
    """Returns the bytes of the longest value that may repeat.

    Raises `UnreadableParquet` if a row of such values is over the budget.
    """
    file = parquet.open_with_dictionary(chunk.leaf)
    try:
        first = next(iter(file.iter_batches(1, row_groups=[group], columns=[chunk.leaf], use_threads=False)), None)
        kept = None if first is None else _get_dictionary(first.column(0))
        if kept is None:
            return chunk.stored
        longest = pc.max(pc.binary_length(kept.dictionary)).as_py() or 0
    except (pa.ArrowException, OSError, NotImplementedError):  # an encoding without dictionaries
        return chunk.stored
    if longest > ROW_BYTES:
        raise _make_budget_error(
            parquet, f"column {chunk.leaf} of row group {group} has a value of {longest:,} bytes", ROW_BYTES
        )
    if chunk.is_nested and longest > _LONG_VALUE_BYTES and longest * chunk.values > ROW_BYTES:
        _check_rows(parquet, group, chunk, file)
    return int(longest)


def _check_rows(parquet: Parquet, group: int, chunk: _Chunk, file: Any) -> None:
    """Raises `UnreadableParquet` if a row's list of strings is over the budget, without expanding any."""
    for batch in file.iter_batches(1, row_groups=[group], columns=[chunk.leaf], use_threads=False):
        kept = _get_dictionary(batch.column(0))
        lengths = None if kept is None else pc.binary_length(kept.dictionary).take(kept.indices)
        size = 0 if lengths is None else pc.sum(lengths.cast(pa.int64())).as_py() or 0
        if size > ROW_BYTES:
            raise _make_budget_error(
                parquet, f"column {chunk.leaf} of row group {group} has a row of {size:,} bytes", ROW_BYTES
            )


def _get_dictionary(values: pa.Array) -> pa.DictionaryArray | None:
    """Returns the one column of strings inside an array of lists and structs; None if it has no dictionary."""
    while not pa.types.is_dictionary(values.type):
        if pa.types.is_struct(values.type):
            values = values.flatten()[0]
        elif pa.types.is_map(values.type):
            return None
        elif hasattr(values, "flatten") and pa.types.is_nested(values.type):
            values = values.flatten()
        else:
            return None
    return values


def _make_budget_error(parquet: Parquet, what: str, most: int) -> UnreadableParquet:
    return UnreadableParquet(f"{parquet.path}: {what}, more than the {most >> 20:,} MiB that are allowed")
