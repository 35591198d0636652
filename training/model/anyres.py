"""Computes how images are laid out on tiles: their number, a picture's place on them, and the cells that show it.

At any resolution an image is fitted into the grid of tiles that keeps most of its pixels, and cut; a thumbnail of the
whole goes first. At a fixed resolution it becomes one tile. All this depends on the image's size alone, so that a
planner needs no pixels. The arithmetic of any resolution is that of xGen-MM (LAVIS,
open_flamingo/train/any_res_data_utils.py), truncations included: released weights expect it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curation.images.tile_grids import Grid, Size, choose_grid, count_grid_tiles
from training.model.tiling_options import AnyResolutionOptions

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Layout:
    """Gives the place of a picture on its canvas of `grid` tiles, in pixels."""

    grid: Grid
    resized: Size
    offset: tuple[int, int]  # of its upper left corner


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
    if not options.enabled:
        return np.ones(len(widths), np.int32)
    return count_grid_tiles(widths, heights, options.grids, tile)


def place_on_grid(size: Size, options: AnyResolutionOptions, tile: int) -> Layout:
    """Places a picture on its grid, as `options.canvas` asks: with its aspect kept, or over the whole canvas."""
    if options.canvas == "pad":
        return compute_layout(size, options.grids, tile)
    columns, rows = choose_grid(size, options.grids, tile)
    return Layout((columns, rows), (columns * tile, rows * tile), (0, 0))


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


def place_on_tile(size: Size, tile: int, patch: int) -> Layout:
    """Places a picture on one tile with its aspect kept: its longer side fills the tile, and it is centred.

    Its shorter side is rounded to whole cells, of `patch` pixels a side and one at least, so that no cell shows both
    the picture and its border. A picture that reaches into every row or column of cells fills the tile.
    """
    side, (short, long) = tile // patch, sorted(size)
    cells = min(side, max(1, (2 * short * tile + long * patch) // (2 * long * patch)))
    if cells == side:
        return Layout((0, 0), (tile, tile), (0, 0))
    extent, start = cells * patch, (side - cells) // 2 * patch
    if size[0] >= size[1]:
        return Layout((0, 0), (tile, extent), (0, start))
    return Layout((0, 0), (extent, tile), (start, 0))


def compute_shown_cells(placed: Layout, tile: int, patch: int) -> NDArray[np.bool_]:
    """Returns bool [1, cells] of a layout of `place_on_tile`, True for the cells that show the picture."""
    side = tile // patch
    (left, top), (across, down) = ((length // patch for length in pair) for pair in (placed.offset, placed.resized))
    shown = np.zeros((side, side), np.bool_)
    shown[top : top + down, left : left + across] = True
    return shown.reshape(1, -1)


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
