"""Rows are found by a key, a uid, or either after the name of their file."""

import pyarrow as pa
import pytest

from pipelines.inputs.row_keys import find_key, order_files

ROWS = pa.table({"key": ["a", "x/a", "b", "u1"], "uid": ["u1", None, "u2", None]})


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("a", [0]),
        ("x/a", [0, 1]),  # the key of a row, and a row of this file
        ("x/x/a", [1]),
        ("u1", [0, 3]),
        ("x/u2", [2]),
        ("y/a", []),
        ("/a", []),
        ("", []),
        ("\udcff", []),
        ("x/\ud800", []),
    ],
)
def test_rows_of_the_file_x(key: str, found: list[int]) -> None:
    assert find_key(ROWS, key, "x") == ROWS.take(pa.array(found, pa.int64()))


def test_a_layout_without_uids() -> None:
    rows = ROWS.select(["key"])
    assert find_key(rows, "u1", "x") == rows.slice(3)


def test_the_file_that_a_key_begins_with_comes_first() -> None:
    assert order_files(["0", "00", "1"], "00/0/k") == ["00", "0", "1"]
    assert order_files(["0", "00", "1"], "k") == ["0", "00", "1"]
