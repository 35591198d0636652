"""Resizes the tables of position embeddings of square grids, for images of another resolution."""

import math

import torch
from torch import Tensor
from torch.nn import functional


def interpolate_positions(table: Tensor, side: int) -> Tensor:
    """Returns a table [n * n, width], row by row, resized to [side * side, width]; one of that size as it is.

    The interpolation is bicubic without antialiasing, as in transformers' towers. It is written as products of
    matrices, whose gradients are the same in each run on a GPU; those of torch's interpolation are not.
    """
    size = math.isqrt(len(table))
    if size == side:
        return table
    exact = torch.promote_types(table.dtype, torch.float32)
    with torch.autocast(table.device.type, enabled=False):
        weights = _compute_weights(size, side, table.device, exact)
        grid = table.to(exact).view(size, size, table.shape[1])
        resized = torch.einsum("oi,ijw,pj->opw", weights, grid, weights)
    return resized.flatten(0, 1).to(table.dtype)


def _compute_weights(size: int, side: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Returns [side, size]: how much each row of the table counts in each row of the result."""
    rows = torch.eye(size, device=device, dtype=dtype)[None, :, :, None]
    weights: Tensor = functional.interpolate(rows, size=(side, 1), mode="bicubic", align_corners=False)[0, :, :, 0].T
    return weights
