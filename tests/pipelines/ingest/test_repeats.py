"""An image is a repeat where its first stands in another row, in whatever order the units are done."""

import polars as pl
import pytest

from pipelines.ingest.repeats import select_repeats


@pytest.mark.parametrize("alike", [False, True])
def test_a_repeat_is_one_of_another_row(alike: bool) -> None:
    """Twice in one row is not before; a row of the same number in another unit is another row."""
    rows = [(1, 0, 0, 10), (0, 0, 0, 10), (0, 0, 1, 10), (0, 1, 0, 0xFFFF << 40), (0, 1, 1, 10), (1, 0, 1, 10)]
    table = pl.DataFrame(
        [(unit, row, number, value, 0) for unit, row, number, value in rows],
        {"unit": pl.UInt64, "row": pl.UInt32, "number": pl.UInt32, "high": pl.UInt64, "low": pl.UInt64},
        orient="row",
    )
    assert select_repeats(table, alike).rows() == [(0, 1, 1), (1, 0, 0), (1, 0, 1)]


@pytest.mark.parametrize("alike", [False, True])
def test_no_images_at_all(alike: bool) -> None:
    schema = {"unit": pl.UInt64, "row": pl.UInt32, "number": pl.UInt32, "high": pl.UInt64, "low": pl.UInt64}
    assert select_repeats(pl.DataFrame(schema=schema), alike).rows() == []
