"""Computes the sizes of a tile's square grid of cells, and refuses sizes that a connector cannot take.

It imports no torch, because the data is planned with these numbers before there is a model.
"""

import math

from schemas.errors import UsageError


def compute_side(cells: int, kind: str) -> int:
    """Returns the side of a square grid of `cells` cells. Raises `UsageError` when they form no square."""
    side = math.isqrt(cells)
    if side * side != cells:
        raise UsageError(
            f"model.connector: {kind} needs a square grid of cells, but a tile has {cells}: use kind: perceiver"
        )
    return side


def count_pooled_cells(cells: int, pool_side: int, kind: str, option: str) -> int:
    """Counts the cells of the grid that `pool_side`, a recipe's `model.connector.{option}`, makes of a tile.

    Raises `UsageError` when the tile has fewer cells a side than that.
    """
    side = compute_side(cells, kind)
    if pool_side > side:
        raise UsageError(
            f"model.connector.{option}: {kind} cannot pool the {side} x {side} cells of a tile to"
            f" {pool_side} x {pool_side}: set {side} or fewer"
        )
    return pool_side**2


def count_joined_cells(cells: int, join: int, pool_side: int | None, kind: str) -> int:
    """Counts the groups of `join` consecutive cells of a tile.

    Raises `UsageError` that advises a `pool_side` when cells would be left over.
    """
    if cells % join == 0:
        return cells // join
    what = f"pool_side {pool_side} leaves {cells} cells" if pool_side else f"a tile has {cells} cells"
    raise UsageError(
        f"model.connector: {kind} joins {join} cells to a token, and {what}, which {join} does not divide: "
        + _advise_pool_side(cells, join)
    )


def _advise_pool_side(cells: int, join: int) -> str:
    """Names the largest smaller grid that divides, preferably one whose groups do not straddle rows."""
    fitting = [side for side in range(math.isqrt(cells), 0, -1) if side * side % join == 0]
    whole = [side for side in fitting if side % join == 0 or join % side == 0]
    if not fitting:
        return "set a smaller factor"
    best = (whole or fitting)[0]
    return f"set pool_side: {best}, which gives {best * best // join} tokens, or another factor"
