"""Converts rows of Parquet files to Python objects, unless a row has lists that would fill the memory.

A list of a million nulls takes some bytes in a file, and 50 times Arrow's bytes as Python objects.
"""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

MAX_ENTRIES = 1_000_000
"""Entries of the lists of a row; those of a document have a few thousand."""

_LISTS = (
    *(pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list),
    *(pa.types.is_list_view, pa.types.is_large_list_view, pa.types.is_map),
)


class TooManyEntries(ValueError):
    """Reports a row with more than `MAX_ENTRIES` in its lists."""


def iterate_rows(rows: pa.Table | pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Yields the rows as Python objects. Raises `TooManyEntries`, and `ValueError` for text that is not UTF-8."""
    for batch in _cut_by_entries(rows):
        yield from batch.to_pylist()


def check_entries(rows: pa.Table) -> None:
    """Raises `TooManyEntries` if a row has them; creates no Python objects."""
    for _ in _cut_by_entries(rows):
        pass


def _cut_by_entries(rows: pa.Table | pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Yields the rows in batches of at most `MAX_ENTRIES` list entries."""
    if isinstance(rows, pa.Table):
        for batch in rows.to_batches():
            yield from _cut_by_entries(batch)
        return
    entries = max(map(count_entries, rows.columns), default=0)
    if entries <= MAX_ENTRIES:
        yield rows
    elif rows.num_rows == 1:
        raise TooManyEntries(f"a list of {entries:,} entries; at most {MAX_ENTRIES:,} are read")
    else:
        half = rows.num_rows // 2
        yield from _cut_by_entries(rows.slice(0, half))
        yield from _cut_by_entries(rows.slice(half))


def count_entries(values: pa.Array) -> int:
    """Returns the number of list entries in a column, at the nesting level that has the most."""
    if isinstance(values, pa.ExtensionArray):
        return count_entries(values.storage)
    if pa.types.is_struct(values.type):
        return max(map(count_entries, values.flatten()), default=0)
    if pa.types.is_map(values.type):
        ends = values.offsets
        values = values.items.slice(ends[0].as_py(), ends[-1].as_py() - ends[0].as_py())
        return max(len(values), count_entries(values))
    if any(is_list(values.type) for is_list in _LISTS):
        inner = values.flatten()
        return max(len(inner), count_entries(inner))
    return 0
