"""Computes into how many tiles training at any resolution cuts an image, from its size alone.

An image is fitted into the grid of tiles that keeps most of its pixels, and a thumbnail of the whole goes first. The
arithmetic is that of xGen-MM (LAVIS, open_flamingo/train/any_res_data_utils.py), truncations included: released weights
expect it. Mixtures and the trainer count with the same functions.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Size = tuple[int, int]
"""Width and height in pixels."""

Grid = tuple[int, int]
"""Columns and rows of tiles."""

XGEN_GRIDS: tuple[Grid, ...] = ((1, 2), (2, 1), (2, 2), (3, 1), (1, 3))


def choose_grid(size: Size, grids: Sequence[Grid], tile: int) -> Grid:
    """Chooses the grid on which the picture keeps the most pixels, but no more than it has.

    Of equal grids it takes the one that wastes the fewest pixels, and of these the first. `tile` is a side in pixels.
    """
    best, most, least = grids[0], -1, 0
    for columns, rows in grids:
        width, height = columns * tile, rows * tile
        scale = min(width / size[0], height / size[1])
        effective = min(int(size[0] * scale) * int(size[1] * scale), size[0] * size[1])
        wasted = width * height - effective
        if effective > most or (effective == most and wasted < least):
            best, most, least = (columns, rows), effective, wasted
    return best


def count_grid_tiles(
    widths: NDArray[np.integer], heights: NDArray[np.integer], grids: Sequence[Grid], tile: int
) -> NDArray[np.int32]:
    """Counts the tiles of many images, the thumbnails included, on the grids that `choose_grid` chooses."""
    counts = np.ones(len(widths), np.int32)
    across, down = widths.astype(np.int64), heights.astype(np.int64)
    most, least = np.full(len(widths), -1, np.int64), np.zeros(len(widths), np.int64)
    for columns, rows in grids:
        width, height = columns * tile, rows * tile
        scale = np.minimum(width / across, height / down)
        effective = np.minimum((across * scale).astype(np.int64) * (down * scale).astype(np.int64), across * down)
        wasted = width * height - effective
        better = (effective > most) | ((effective == most) & (wasted < least))
        counts[better] = columns * rows + 1
        most, least = np.where(better, effective, most), np.where(better, wasted, least)
    return counts
