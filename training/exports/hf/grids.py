"""Finds the images among the tiles of a batch, each of which names its image's grid.

So all inputs of images have a row for each tile, as vLLM needs to know which rows are an image's.
"""

from collections.abc import Sequence
from typing import Any


def list_image_grids(tile_grids: Any) -> list[tuple[int, int]]:
    """Returns the columns and rows of each image's grid, for those of each tile [K, 2], a tensor or lists.

    0 and 0 is one tile without a thumbnail.
    """
    rows: Sequence[Sequence[float]] = tile_grids.tolist() if hasattr(tile_grids, "tolist") else tile_grids
    grids: list[tuple[int, int]] = []
    at = 0
    while at < len(rows):
        columns, lines = (int(number) for number in rows[at])
        grids.append((columns, lines))
        at += columns * lines + 1
    return grids
