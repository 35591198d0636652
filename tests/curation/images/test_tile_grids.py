"""Tiles are counted for many images as a grid is chosen for one; the released code's values are the trainer's tests."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curation.images.tile_grids import XGEN_GRIDS, Grid, Size, choose_grid, count_grid_tiles

sizes = st.lists(st.tuples(st.integers(1, 20_000), st.integers(1, 20_000)), max_size=8)
grids = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=6)


@given(sizes, grids)
def test_many_at_once_are_one_by_one(images: list[Size], choice: list[Grid]) -> None:
    widths, heights = (np.asarray([image[side] for image in images], np.int32) for side in (0, 1))
    chosen = [choose_grid(image, choice, 384) for image in images]
    assert count_grid_tiles(widths, heights, choice, 384).tolist() == [columns * rows + 1 for columns, rows in chosen]


def test_the_released_grids() -> None:
    widths, heights = np.asarray([640, 2000, 50, 384]), np.asarray([480, 500, 900, 384])
    assert count_grid_tiles(widths, heights, XGEN_GRIDS, 384).tolist() == [5, 4, 4, 3]
    assert count_grid_tiles(widths, heights, [(2, 2)], 672).tolist() == [5, 5, 5, 5]
