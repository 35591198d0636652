"""Computes any-resolution tiling: the number of an image's tiles, its place on them, and the cells that show it.

An image is fitted into the grid of tiles that keeps most of its pixels, centred on black, and cut; a thumbnail of the
whole goes first. All this depends on the image's size alone, so that a planner needs no pixels. The arithmetic is that
of xGen-MM (LAVIS, open_flamingo/train/any_res_data_utils.py), truncations included: released weights expect it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from schemas.output_set.options import Options

if TYPE_CHECKING:
    from torch import Tensor

Size = tuple[int, int]
"""Width and height in pixels."""

Grid = tuple[int, int]
"""Columns and rows of tiles."""

XGEN_GRIDS: tuple[Grid, ...] = ((1, 2), (2, 1), (2, 2), (3, 1), (1, 3))


class AnyResolutionOptions(Options):
    """Sets how images larger than the tower's input are cut into tiles; the connector takes each tile by itself."""

    enabled: bool = Field(False, description="off in pre-training, on in fine-tuning, as in the paper")
    grids: tuple[Grid, ...] = Field(XGEN_GRIDS, min_length=1)
    tile_order: Literal["true_tile", "reference"] = Field(
        "true_tile", description="reference: cells in the order that the released weights were trained with"
    )


@dataclass(frozen=True, slots=True)
class Layout:
    """Gives the place of a picture on its canvas of `grid` tiles, in pixels."""

    grid: Grid
    resized: Size
    offset: tuple[int, int]  # of its upper left corner


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


def count_tiles(size: Size, options: AnyResolutionOptions, tile: int) -> int:
    """Counts the tiles of an image, the thumbnail included; 1 without any resolution."""
    if not options.enabled:
        return 1
    columns, rows = choose_grid(size, options.grids, tile)
    return columns * rows + 1


def count_tiles_of_images(
    widths: NDArray[np.integer], heights: NDArray[np.integer], options: AnyResolutionOptions, tile: int
) -> NDArray[np.int32]:
    """Computes `count_tiles` for many images at once."""
    counts = np.ones(len(widths), np.int32)
    if not options.enabled:
        return counts
    across, down = widths.astype(np.int64), heights.astype(np.int64)
    most, least = np.full(len(widths), -1, np.int64), np.zeros(len(widths), np.int64)
    for columns, rows in options.grids:
        width, height = columns * tile, rows * tile
        scale = np.minimum(width / across, height / down)
        effective = np.minimum((across * scale).astype(np.int64) * (down * scale).astype(np.int64), across * down)
        wasted = width * height - effective
        better = (effective > most) | ((effective == most) & (wasted < least))
        counts[better] = columns * rows + 1
        most, least = np.where(better, effective, most), np.where(better, wasted, least)
    return counts


def compute_layout(size: Size, grids: Sequence[Grid], tile: int) -> Layout:
    """Places a picture on the best grid: scaled in proportion, rounded up, and centred."""
    columns, rows = choose_grid(size, grids, tile)
    width, height = columns * tile, rows * tile
    across, down = width / size[0], height / size[1]
    if across < down:
        resized = (width, min(math.ceil(size[1] * across), height))
    else:
        resized = (min(math.ceil(size[0] * down), width), height)
    return Layout((columns, rows), resized, ((width - resized[0]) // 2, (height - resized[1]) // 2))


def compute_valid_cells(size: Size, grid: Grid, cells_per_side: int) -> NDArray[np.bool_]:
    """Returns bool [1 + columns * rows, cells_per_side ** 2], True for the cells that show the picture.

    The thumbnail comes first, and all its cells are True. Tiles and cells are in row order, each tile's cells together
    (`regroup_as_reference` gives the other order). Whole rows or columns of cells at the border are masked, rounded as
    in the released code: a cell that shows a little of the picture may be masked, and for a picture thinner than a cell
    only the thumbnail may be left.
    """
    columns, rows = grid
    width, height = columns * cells_per_side, rows * cells_per_side
    canvas = np.ones((height, width), np.bool_)
    if size[0] / size[1] > width / height:
        border = (height - int(size[1] * (width / size[0]))) // 2
        canvas[:border] = canvas[height - border :] = False
    else:
        border = (width - int(size[0] * (height / size[1]))) // 2
        canvas[:, :border] = canvas[:, width - border :] = False
    tiles = canvas.reshape(rows, cells_per_side, columns, cells_per_side).swapaxes(1, 2)
    thumbnail = np.ones((1, cells_per_side**2), np.bool_)
    return np.concatenate((thumbnail, tiles.reshape(rows * columns, -1)))


def regroup_as_reference(features: "Tensor", grid: Grid) -> "Tensor":
    """Reorders the features, or the mask, [tiles, cells, ...] of an image into the groups that xGen-MM resamples.

    The released code merges the tiles into one map and cuts the map, row by row, into groups of as many cells as a
    tile has: with two or more columns a group is a band, not a tile. The released weights were trained this way. The
    thumbnail stays first; an image of one tile (grid 0, 0) is returned unchanged.
    """
    import torch  # here, so that a planner needs no torch

    columns, rows = grid
    if columns < 2:
        return features
    side = math.isqrt(features.shape[1])
    tiles = features[1:].view(rows, columns, side, side, *features.shape[2:])
    return torch.cat((features[:1], tiles.transpose(1, 2).reshape(rows * columns, *features.shape[1:])))
