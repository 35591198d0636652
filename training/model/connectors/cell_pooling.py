"""Masks and pools the cells of tiles: means are over the cells that show the picture, and 0 where none does."""

import math

import torch
from torch import Tensor


def zero_masked_cells(cells: Tensor, valid: Tensor | None) -> Tensor:
    """Returns cells [K, N, width] with zeros where `valid`, bool [K, N], is False."""
    return cells if valid is None else cells.masked_fill(~valid[..., None], 0)


def zero_masked_tiles(tokens: Tensor, valid: Tensor | None) -> Tensor:
    """Returns tokens [K, M, width] with zeros for the tiles that have no valid cell, bool [K, N]."""
    return tokens if valid is None else tokens.masked_fill(~valid.any(dim=1)[:, None, None], 0)


def pool_cells(cells: Tensor, valid: Tensor | None, side: int) -> tuple[Tensor, Tensor | None]:
    """Averages cells [K, n * n, width] to [K, side * side, width], and reduces the mask likewise.

    Windows are those of adaptive average pooling: window i covers the rows from floor(i * n / side) up to
    ceil((i + 1) * n / side), so they overlap by a row where `side` does not divide n. A window without any valid cell
    gives zeros, and is masked. The sums are matrix products, whose gradients are the same in each run on a GPU; those
    of torch's adaptive pooling are not where windows overlap.
    """
    size = math.isqrt(cells.shape[1])
    windows = _build_windows(size, side, cells)
    exact = torch.promote_types(cells.dtype, torch.float32)
    seen = cells.new_ones((1, size * size), dtype=exact) if valid is None else valid.to(exact)
    with torch.autocast(cells.device.type, enabled=False):  # bf16 has no number 729, and a mean costs little
        sums = _sum_windows(zero_masked_cells(cells, valid), windows)
        counts = _sum_windows(seen[..., None], windows.to(exact))
        pooled = (sums / counts.clamp(min=1)).to(sums.dtype)
    return pooled, None if valid is None else counts[..., 0] > 0


def average_valid(maps: Tensor, valid: Tensor | None) -> Tensor:
    """Returns the means [K, C, 1, 1] of maps [K, C, H, W] over the cells where `valid`, bool [K, 1, H, W], is True."""
    if valid is None:
        return maps.mean((2, 3), keepdim=True)
    counts = valid.sum((2, 3), keepdim=True).clamp(min=1)
    return maps.masked_fill(~valid, 0).sum((2, 3), keepdim=True) / counts.to(maps.dtype)


def to_maps(cells: Tensor) -> Tensor:
    """Returns cells [K, n * n, C] as maps [K, C, n, n], without copying them."""
    side = math.isqrt(cells.shape[1])
    return cells.view(len(cells), side, side, cells.shape[2]).permute(0, 3, 1, 2)


def to_cells(maps: Tensor) -> Tensor:
    """Returns maps [K, C, H, W] as cells [K, H * W, C], row by row."""
    return maps.flatten(2).transpose(1, 2)


def _build_windows(size: int, side: int, like: Tensor) -> Tensor:
    """Returns [side, size], 1 where a row of cells belongs to a window."""
    rows = torch.arange(size, device=like.device)
    at = torch.arange(side, device=like.device)[:, None]
    return ((rows >= at * size // side) & (rows < -(-(at + 1) * size // side))).to(like.dtype)


def _sum_windows(cells: Tensor, windows: Tensor) -> Tensor:
    size = windows.shape[1]
    grid = cells.view(len(cells), size, size, cells.shape[2])
    return torch.einsum("oi,kijc,pj->kopc", windows, grid, windows).flatten(1, 2)
