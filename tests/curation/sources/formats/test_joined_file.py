"""Items of a file joined with the rows of a second one."""

import io
from collections.abc import Iterator
from typing import Any, BinaryIO

from curation.sources.formats.joined_file import JoinedFile


def join(items: list[Any], rows: list[Any]) -> tuple[list[Any], int]:
    """What is joined, and how many rows are read for it."""
    read = 0

    def read_rows(_: BinaryIO) -> Iterator[Any]:
        nonlocal read
        for row in rows:
            read += 1
            yield row

    found = list(JoinedFile(str, read_rows, "id").join(iter(items), io.BytesIO()))
    return [one if isinstance(one, dict) else str(one) for one in found], read


def test_rows_in_any_order() -> None:
    rows = [{"id": n, "answer": n * 10, "text": "not this"} for n in (3, 1, 2, 4)]
    assert join([{"id": n, "text": f"t{n}"} for n in (1, 2)], rows) == (
        [{"id": 1, "text": "t1", "answer": 10}, {"id": 2, "text": "t2", "answer": 20}],
        3,  # no more than the items need
    )


def test_what_has_no_row() -> None:
    """The first of two rows is taken, two items may have the same, and a number is no text."""
    rows = [{"id": 1, "answer": "a"}, {"id": 1, "answer": "b"}, "row", {"id": [2]}, {"id": "2", "answer": "c"}, {}]
    items = [{"id": 1}, {"id": 1, "n": 2}, {"id": 2}, {"id": "x" * 100}, {"id": True}, {}, "item", None]
    assert join(items, rows) == (
        [
            {"id": 1, "answer": "a"},
            {"id": 1, "n": 2, "answer": "a"},
            "malformed_row: id 2 has no annotation",
            f"malformed_row: id {'x' * 60} has no annotation",
            *["malformed_row: there is no id"] * 4,
        ],
        6,
    )


def test_nothing_is_read_for_nothing() -> None:
    assert join([], [{"id": 1}]) == ([], 0)
