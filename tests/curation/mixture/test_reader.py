"""Which samples of an object are read by one request."""

from curation.mixture.reader import MAX_GAP_BYTES, MAX_RANGE_BYTES, group_adjacent_rows


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
