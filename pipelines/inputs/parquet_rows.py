"""Cuts Parquet files into row ranges, at row groups where these are small enough, and streams the rows of a range."""

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import pyarrow as pa

from curation.sources import SourceReader
from schemas.errors import ShardloomError, UsageError, to_one_line
from schemas.records.quarantine import Reason, Rejected
from schemas.storage.parquet import check_sizes, iterate_batches, open_parquet
from schemas.storage.row_objects import MAX_ENTRIES, count_entries

BATCH_ROWS = 64  # rows converted to Python objects at once


def cut_row_groups(
    file: BinaryIO, reader: SourceReader, max_rows: int, path: str
) -> Iterator[tuple[int, int, int, int]]:
    """Yields row ranges as (start, stop, first byte, last byte), of at most `max_rows` rows each.

    A range is a run of whole row groups; a larger group is cut by rows. Raises `UsageError` for a file without a column
    that the reader needs.
    """
    parquet = open_parquet(file, path)
    absent = [name for name in reader.columns if name not in parquet.schema.names]
    if absent:
        raise UsageError(f"{path} has no column {' or '.join(absent)}: is it another set's?")
    check_sizes(parquet, select_columns(parquet.schema.names, reader))
    metadata = parquet.file.metadata
    start = 0
    run: list[tuple[int, int, int]] = []  # rows of row groups, and where they begin and end in the file
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        if run and sum(rows for rows, _, _ in run) + group.num_rows > max_rows:
            yield from _cut_run(run, start, max_rows)
            start, run = start + sum(rows for rows, _, _ in run), []
        run.append((group.num_rows, *_find_group_bytes(group)))
    yield from _cut_run(run, start, max_rows)


def _cut_run(run: list[tuple[int, int, int]], start: int, max_rows: int) -> Iterator[tuple[int, int, int, int]]:
    stop = start + sum(rows for rows, _, _ in run)
    for begin in range(start, stop, max_rows):
        yield begin, min(begin + max_rows, stop), min(first for _, first, _ in run), max(last for _, _, last in run)


def _find_group_bytes(group: Any) -> tuple[int, int]:
    """Returns the bytes at which the columns of a row group begin and end in the file."""
    columns = [group.column(number) for number in range(group.num_columns)]
    begins = [min(filter(None, (column.dictionary_page_offset, column.data_page_offset))) for column in columns]
    ends = [begin + column.total_compressed_size for begin, column in zip(begins, columns, strict=True)]
    return min(begins, default=0), max(ends, default=0)


def read_rows(
    file: BinaryIO, reader: SourceReader, path: str, start: int, stop: int, is_local: bool
) -> Iterator[dict[str, Any] | Rejected]:
    """Yields the rows from `start` to `stop`, with the columns that the reader wants; a `Rejected` for a malformed row.

    Buffers single pages of a local file. From an object store it reads whole column chunks, because page by page would
    take a request for each page. Raises `ShardloomError` for a file that can't be read.
    """
    parquet = open_parquet(file, path, pre_buffer=not is_local)
    wanted = select_columns(parquet.schema.names, reader)
    begin = 0
    groups: list[int] = []
    skipped, left = 0, stop - start
    for number in parquet.groups:
        end = begin + parquet.count_group_rows(number)
        if end > start and begin < stop:
            skipped = skipped if groups else start - begin
            groups.append(number)
        begin = end
    try:
        for batch in iterate_batches(parquet, BATCH_ROWS, wanted, groups):
            table = batch.slice(min(skipped, batch.num_rows))
            skipped -= batch.num_rows - table.num_rows
            table = table.slice(0, left)
            left -= table.num_rows
            yield from to_python_rows(table)
    except pa.ArrowException as error:  # the folder reports an OSError
        raise ShardloomError(f"cannot read {path}: {to_one_line(error)}") from None


def select_columns(names: list[str], reader: SourceReader) -> list[str]:
    """Returns the columns of a file that the reader uses."""
    return [name for name in names if reader.optional is None or name in reader.columns or name in reader.optional]


def to_python_rows(batch: pa.RecordBatch) -> list[dict[str, Any] | Rejected]:
    """Returns the rows as Python objects. A row with a value that Python can't represent is converted alone, and one
    with a list of more than `MAX_ENTRIES` is rejected.
    """
    if (
        entries := max(map(count_entries, batch.columns), default=0)
    ) > MAX_ENTRIES:  # Python takes 50 times Arrow's bytes
        if batch.num_rows == 1:
            return [Rejected(Reason.MALFORMED_ROW, f"a list of {entries:,} entries; at most {MAX_ENTRIES:,} are read")]
        return [row for at in range(batch.num_rows) for row in to_python_rows(batch.slice(at, 1))]
    try:
        found: list[dict[str, Any] | Rejected] = _convert_times(batch).to_pylist()
        return found
    except (ValueError, OverflowError, pa.ArrowException):
        if batch.num_rows == 1:
            return [_convert_row(batch)]
        return [row for at in range(batch.num_rows) for row in to_python_rows(batch.slice(at, 1))]


def _convert_row(batch: pa.RecordBatch) -> dict[str, Any] | Rejected:
    """Returns the only row of a batch, with the bytes of each string that is not UTF-8: the reader judges them.

    Such a string may be in a column that does not matter. Returns a `Rejected` for any other value that Python can't
    represent.
    """
    try:
        columns = _convert_times(batch).columns
        return {name: _convert_value(column[0]) for name, column in zip(batch.schema.names, columns, strict=True)}
    except (ValueError, OverflowError, pa.ArrowException) as error:
        return Rejected(Reason.MALFORMED_ROW, f"a value that cannot be read: {to_one_line(error, 200)}")


def _convert_value(value: pa.Scalar) -> Any:
    try:
        return value.as_py()
    except UnicodeDecodeError:
        if isinstance(value, pa.StructScalar):
            return {field.name: _convert_value(value[number]) for number, field in enumerate(value.type)}
        if isinstance(value, pa.MapScalar):
            return [tuple(_convert_value(entry[side]) for side in (0, 1)) for entry in value.values]
        if isinstance(value, pa.ListScalar):
            return [_convert_value(entry) for entry in value.values]
        if isinstance(value, pa.DictionaryScalar | pa.ExtensionScalar):
            return _convert_value(value.value)
        return value.as_buffer().to_pybytes()


def _convert_times(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Returns the batch with dates and times as text, in UTC: Python has no year 10,000, no nanoseconds, few zones."""
    columns = batch.columns
    for form in (_drop_time_zone, _to_string_type):
        columns = [_cast(column, map_type(column.type, form)) for column in columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    return column if column.type == kind else column.cast(kind)


def _drop_time_zone(kind: pa.DataType) -> pa.DataType:
    return pa.timestamp(kind.unit) if pa.types.is_timestamp(kind) else kind


def _to_string_type(kind: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_temporal(kind) and not pa.types.is_interval(kind) else kind


def map_type(kind: pa.DataType, convert: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    """Returns the type with `convert` applied to each leaf type that it is made of."""
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(map_type(field.type, convert)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(*(field.with_type(map_type(field.type, convert)) for field in (kind.key_field, kind.item_field)))
    for is_list, list_of in _LISTS:
        if is_list(kind):
            return list_of(kind.value_field.with_type(map_type(kind.value_type, convert)))
    return convert(kind)


_LISTS = ((pa.types.is_list, pa.list_), (pa.types.is_large_list, pa.large_list))
