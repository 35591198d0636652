"""Grids, layouts and masks against the values that the released code gives."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curation.images.tile_grids import XGEN_GRIDS, Grid, choose_grid
from training.model.anyres import (
    Layout,
    compute_layout,
    compute_valid_cells,
    count_tiles,
    count_tiles_of_images,
    regroup_as_reference,
)
from training.model.tiling_options import AnyResolutionOptions

TILE, SIDE, TOKENS_PER_TILE = 384, 27, 128
ANY = AnyResolutionOptions(enabled=True)

# size, canvas in pixels, tokens, valid cells of each group as the released code has them
GOLDEN = [
    ((640, 480), (768, 768), 640, [351, 729, 729, 351]),
    ((480, 640), (768, 768), 640, [540, 540, 540, 540]),
    ((1920, 1080), (768, 768), 640, [81, 729, 729, 81]),
    ((1080, 1920), (768, 768), 640, [405, 405, 405, 405]),
    ((2000, 500), (1152, 384), 512, [486, 729, 486]),
    ((200, 200), (384, 768), 384, [378, 378]),
    ((336, 336), (384, 768), 384, [378, 378]),
    ((384, 384), (384, 768), 384, [378, 378]),
    ((1000, 1000), (768, 768), 640, [729, 729, 729, 729]),
    ((50, 900), (384, 1152), 512, [135, 135, 135]),
    ((300, 100), (384, 768), 384, [135, 135]),
]
LAYOUTS = [
    ((640, 480), Layout((2, 2), (768, 576), (0, 96))),
    ((1920, 1080), Layout((2, 2), (768, 432), (0, 168))),
    ((2000, 500), Layout((3, 1), (1152, 288), (0, 48))),
    ((384, 384), Layout((1, 2), (384, 384), (0, 192))),
    ((50, 900), Layout((1, 3), (64, 1152), (160, 0))),
    ((1000, 333), Layout((3, 1), (1152, 384), (0, 0))),
    ((1000, 999), Layout((2, 2), (768, 768), (0, 0))),  # 767.2 is rounded up
    ((999, 7), Layout((3, 1), (1152, 9), (0, 187))),  # 8.07
    ((20_000, 1), Layout((1, 2), (384, 1), (0, 383))),  # less than a pixel on any grid: the first
]

sizes = st.tuples(st.integers(1, 20_000), st.integers(1, 20_000))
grids = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=6)


@pytest.mark.parametrize(("size", "canvas", "tokens", "cells"), GOLDEN)
def test_golden_table(size: tuple[int, int], canvas: tuple[int, int], tokens: int, cells: list[int]) -> None:
    grid = choose_grid(size, XGEN_GRIDS, TILE)
    assert (grid[0] * TILE, grid[1] * TILE) == canvas
    assert count_tiles(size, ANY, TILE) * TOKENS_PER_TILE == tokens
    valid = compute_valid_cells(size, grid, SIDE)
    grouped = regroup_as_reference(torch.from_numpy(valid), grid)
    assert grouped.sum(1).tolist() == [SIDE * SIDE, *cells]
    assert valid.sum() == SIDE * SIDE + sum(cells)
    assert torch.equal(grouped, torch.from_numpy(valid)) == (grid[0] == 1 or cells == [729] * 4)


@pytest.mark.parametrize(("size", "expected"), LAYOUTS)
def test_layouts(size: tuple[int, int], expected: Layout) -> None:
    assert compute_layout(size, XGEN_GRIDS, TILE) == expected


@given(sizes, grids)
def test_a_layout_lies_on_its_canvas(size: tuple[int, int], choice: list[Grid]) -> None:
    placed = compute_layout(size, choice, TILE)
    width, height = placed.grid[0] * TILE, placed.grid[1] * TILE
    assert placed.grid in choice
    assert 1 <= placed.resized[0] <= width
    assert 1 <= placed.resized[1] <= height
    assert placed.resized[0] == width or placed.resized[1] == height
    for spare, offset in (
        (width - placed.resized[0], placed.offset[0]),
        (height - placed.resized[1], placed.offset[1]),
    ):
        assert offset == spare // 2


def test_of_equal_grids_the_first() -> None:
    square = (384, 384)  # as large on either, and as much wasted
    assert choose_grid(square, ((1, 2), (2, 1)), TILE) == (1, 2)
    assert choose_grid(square, ((2, 1), (1, 2)), TILE) == (2, 1)
    assert choose_grid(square, ((2, 2), (2, 1)), TILE) == (2, 1)  # less wasted, though later
    assert choose_grid(square, ((1, 1), (1, 2)), TILE) == (1, 1)


def test_fixed_size_is_one_tile() -> None:
    off = AnyResolutionOptions()
    assert count_tiles((4000, 3000), off, TILE) == 1
    assert count_tiles_of_images(np.array([4000, 1]), np.array([3000, 1]), off, TILE).tolist() == [1, 1]


@given(st.lists(sizes, max_size=20), grids, st.sampled_from((32, 224, 378, 384)))
def test_counts_of_many_are_those_of_each(many: list[tuple[int, int]], choice: list[Grid], tile: int) -> None:
    options = AnyResolutionOptions(enabled=True, grids=tuple(choice))
    widths, heights = (np.array([size[axis] for size in many], np.int32) for axis in (0, 1))
    counts = count_tiles_of_images(widths, heights, options, tile)
    assert counts.dtype == np.int32
    assert counts.tolist() == [count_tiles(size, options, tile) for size in many]


def test_counts_of_a_whole_neighbourhood() -> None:
    """Where the choice changes: all sizes up to 800 by 100, and near squares of the tile."""
    pairs = np.array(
        [(w, h) for w in range(1, 801, 7) for h in range(1, 101)]
        + [(w, h) for w in range(380, 390) for h in range(380, 390)]
    )
    expected = [count_tiles((int(w), int(h)), ANY, TILE) for w, h in pairs]
    assert count_tiles_of_images(pairs[:, 0], pairs[:, 1], ANY, TILE).tolist() == expected
    assert set(expected) == {3, 4, 5}


def test_a_sliver_leaves_the_thumbnail() -> None:
    """The released rule: of 20,000 x 1 no cell is left, and the connector must bear it."""
    valid = compute_valid_cells((20_000, 1), choose_grid((20_000, 1), XGEN_GRIDS, TILE), SIDE)
    assert valid.sum(1).tolist() == [729, 0, 0]


def test_masks_are_those_of_the_map() -> None:
    """640 x 480 on 54 x 54 cells: 40 rows are left (40.5, cut), 7 masked above and below."""
    valid = compute_valid_cells((640, 480), (2, 2), SIDE)
    rows = valid[1:].reshape(4, SIDE, SIDE)
    assert rows.dtype == np.bool_
    assert [tile.any(1).argmax() for tile in rows] == [7, 7, 0, 0]
    assert [int(tile.all(1).sum()) for tile in rows] == [20, 20, 20, 20]


@pytest.mark.parametrize("grid", [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (3, 1), (2, 3), (4, 2)])
def test_groups_are_bands_of_the_map(grid: Grid) -> None:
    """Against the map written cell by cell; the tiles themselves if and only if there is one column."""
    columns, rows = grid
    side, tiles = 5, 1 + columns * rows
    features = torch.arange(tiles * side * side * 2).view(tiles, side * side, 2)
    cells = [features[0]]
    for y in range(rows * side):
        for x in range(columns * side):
            tile = 1 + (y // side) * columns + x // side
            cells.append(features[tile, (y % side) * side + x % side][None])
    expected = torch.cat(cells).view(tiles, side * side, 2)
    assert torch.equal(regroup_as_reference(features, grid), expected)
    assert torch.equal(expected, features) == (columns == 1)


def test_groups_carry_gradients_and_leave_one_tile_alone() -> None:
    features = torch.randn(5, 9, 2, requires_grad=True)
    regroup_as_reference(features, (2, 2)).sum().backward()
    assert features.grad is not None
    assert torch.equal(features.grad, torch.ones(5, 9, 2))
    assert regroup_as_reference(features[:1], (0, 0)).shape == (1, 9, 2)


def test_a_planner_does_without_torch() -> None:
    code = "import sys, training.model.anyres; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
