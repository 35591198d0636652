"""Builds the attention mask of a packed sequence: a position sees itself and what precedes it in its own sample.

transformers passes a four-dimensional mask through unchanged, so the mask made here applies to every layer exactly as
it is, and includes the sliding window.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from training.batch import PADDING

Implementation = Literal["sdpa", "eager", "flex_attention"]


def build_packed_mask(
    segments: Tensor,
    implementation: Implementation,
    dtype: torch.dtype,
    window: int | None = None,
) -> Any:
    """Returns the mask for segments [B, T], in the form that the implementation takes.

    sdpa: bool [B, 1, T, T], True where a position may attend; eager: `dtype`, 0 there and its lowest value elsewhere;
    flex_attention: a BlockMask. `window` is the number of positions that a position sees, itself included; None: all.
    Padding sees only itself, because an empty row would give NaN.
    """
    if implementation == "flex_attention":
        return _build_block_mask(segments, window)
    places = torch.arange(segments.shape[1], device=segments.device)
    query, key = places[:, None], places[None, :]
    seen = (key <= query) & (segments[:, :, None] == segments[:, None, :]) & (segments != PADDING)[:, None, :]
    if window is not None:
        seen &= key > query - window
    seen = (seen | (key == query))[:, None]
    if implementation == "sdpa":
        return seen
    return torch.zeros((), dtype=dtype, device=seen.device).where(seen, torch.finfo(dtype).min)


def _build_block_mask(segments: Tensor, window: int | None) -> Any:
    from torch.nn.attention.flex_attention import create_block_mask

    def is_visible(row: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        same = (segments[row, query] == segments[row, key]) & (segments[row, key] != PADDING) & (key <= query)
        if window is not None:
            same = same & (key > query - window)
        return same | (key == query)

    rows, length = segments.shape
    compiled = segments.device.type == "cuda"  # uncompiled, it builds the whole table first
    return create_block_mask(is_visible, rows, None, length, length, device=str(segments.device), _compile=compiled)
