"""Handles columns of lists, as engines fill them: their offsets, and score floors for their items."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def combine_chunks(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Returns the column of a table as one array."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def compute_offsets(lists: pa.ListArray) -> NDArray[np.int64]:
    """Returns where each row's items start in `lists.flatten()`, and where the last row's end. A null row has none."""
    counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])


def keep_above(lists: pa.ListArray | pa.ChunkedArray, field: str, floor: float) -> pa.ListArray:
    """Returns the lists without the items in which `field` (float32) is below the floor. A null stays null."""
    lists = combine_chunks(lists)
    items = lists.flatten()
    # Compared as stored, because 0.9 as float32 is less than 0.9.
    keep = pc.greater_equal(pc.struct_field(items, field), pa.scalar(floor, pa.float32()))
    kept_before = np.concatenate([[0], np.cumsum(keep.to_numpy(zero_copy_only=False))])
    kept = pa.array(kept_before[compute_offsets(lists)], pa.int32())
    return pa.ListArray.from_arrays(kept, items.filter(keep), type=lists.type, mask=lists.is_null())


def has_few(lists: pa.ListArray | pa.ChunkedArray, least: int) -> pa.BooleanArray:
    """Returns which rows have fewer than `least` items; a null row has none."""
    return pc.less(pc.fill_null(pc.list_value_length(lists), 0), least)
