"""Rows become Python objects only if their lists fit in memory."""

from typing import Any

import pyarrow as pa
import pytest

from schemas.storage import row_objects
from schemas.storage.row_objects import TooManyEntries, check_entries, count_entries, iterate_rows

INT = pa.int32()


@pytest.mark.parametrize(
    ("values", "kind", "entries"),
    [
        ([1, 2], INT, 0),
        ([[1], [2, 3], None], pa.list_(INT), 3),
        ([[1], [2, 3], None], pa.large_list(INT), 3),
        ([[1], [2, 3]], pa.list_view(INT), 3),
        ([[1, 2], [3, 4]], pa.list_(INT, 2), 4),
        ([{"a": [[1, 2, 3], []]}], pa.struct([("a", pa.list_(pa.list_(INT)))]), 3),
        ([[("a", [1, 2, 3])], [("b", [])]], pa.map_(pa.string(), pa.list_(INT)), 3),
    ],
)
def test_entries_of_all_kinds_of_lists_are_counted(values: list[Any], kind: pa.DataType, entries: int) -> None:
    assert count_entries(pa.array(values, kind)) == entries
    assert count_entries(pa.array([*values, *values], kind).slice(len(values))) == entries


def test_rows_are_converted_in_batches_and_a_long_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_objects, "MAX_ENTRIES", 4)
    table = pa.table({"a": [[number] * (number % 4) for number in range(9)], "b": list(range(9))})
    assert list(iterate_rows(table)) == table.to_pylist()
    check_entries(table)
    longer = pa.table({"a": [[1], [None] * 5]})
    for convert in (check_entries, lambda rows: list(iterate_rows(rows))):
        with pytest.raises(TooManyEntries, match="a list of 5 entries; at most 4 are read"):
            convert(longer)
