"""Which samples of an object are read by one request, and which index rows are not read at all."""

import pyarrow as pa
import pytest

from curation.mixture.reader import (
    MAX_GAP_BYTES,
    MAX_RANGE_BYTES,
    CorruptSample,
    group_adjacent_rows,
    to_index_rows,
)
from schemas.storage import row_objects


def row(path: str, offset: int, size: int) -> dict[str, object]:
    return {"path": path, "offset": offset, "size": size}


def test_neighbours() -> None:
    rows = [
        row("a", 0, 1000),
        row("a", 1000, 1000),
        row("a", 1000, 1000),  # drawn twice
        row("a", 2000 + MAX_GAP_BYTES, 1000),
        row("a", 3001 + 2 * MAX_GAP_BYTES, 10),  # too far away
        row("b", 3100 + 2 * MAX_GAP_BYTES, 10),  # in another shard
        row("b", 3200 + 2 * MAX_GAP_BYTES, MAX_RANGE_BYTES),  # too much at once
        row("b", 3200 + 2 * MAX_GAP_BYTES + MAX_RANGE_BYTES, 1),
    ]
    assert list(group_adjacent_rows(rows)) == [rows[:4], rows[4:5], rows[5:6], rows[6:7], rows[7:]]
    assert list(group_adjacent_rows([])) == []


@pytest.mark.parametrize(
    ("paths", "place"), [(["a.tar"], "a.tar"), (["a.tar"] * 2, "a.tar"), (["a.tar", "b.tar"], "one of 2 shards")]
)
def test_an_index_with_too_many_members_is_named(monkeypatch: pytest.MonkeyPatch, paths: list[str], place: str) -> None:
    monkeypatch.setattr(row_objects, "MAX_ENTRIES", 3)
    rows = pa.table({"path": paths, "members": [[1, 2, 3]] * len(paths)})
    assert to_index_rows(rows) == [{"path": path, "members": [1, 2, 3]} for path in paths]
    with pytest.raises(CorruptSample) as error:
        to_index_rows(pa.table({"path": paths, "members": [[1, 2, 3, 4]] * len(paths)}))
    assert str(error.value) == f"{place}: its index has a list of 4 entries; at most 3 are read: verify the set"
