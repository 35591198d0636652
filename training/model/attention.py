"""Who may see whom in a packed sequence: each position itself and what comes before it in its own sample.

transformers passes a mask of four dimensions on as it is, so the one made here is the whole truth for every layer, the
sliding window included.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from training.batch import PADDING

Implementation = Literal["sdpa", "eager", "flex_attention"]


def packed_mask(
    segments: Tensor,
    implementation: Implementation,
    dtype: torch.dtype,
    window: int | None = None,
    last: int | None = None,
) -> Any:
    """The mask for segments [B, T], as the implementation takes it.

    sdpa: bool [B, 1, T, T], True where it may look; eager: in `dtype`, 0 there and its lowest elsewhere;
    flex_attention: a BlockMask. `window` is how many positions a position sees, itself among them; None: all. `last`:
    rows of the last so many positions only, as a step of generation needs them. Padding sees itself alone, so that no
    row is empty: an empty row would be NaN.
    """
    if implementation == "flex_attention":
        return _block_mask(segments, window)
    places = torch.arange(segments.shape[1], device=segments.device)
    asking = slice(-last if last else 0, None)
    query, key = places[asking, None], places[None, :]
    seen = (key <= query) & (segments[:, asking, None] == segments[:, None, :]) & (segments != PADDING)[:, None, :]
    if window is not None:
        seen &= key > query - window
    seen = (seen | (key == query))[:, None]
    if implementation == "sdpa":
        return seen
    return torch.zeros((), dtype=dtype, device=seen.device).where(seen, torch.finfo(dtype).min)


def _block_mask(segments: Tensor, window: int | None) -> Any:
    from torch.nn.attention.flex_attention import create_block_mask

    def seen(row: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        same = (segments[row, query] == segments[row, key]) & (segments[row, key] != PADDING) & (key <= query)
        if window is not None:
            same = same & (key > query - window)
        return same | (key == query)

    rows, length = segments.shape
    compiled = segments.device.type == "cuda"  # else it makes the whole table first
    return create_block_mask(seen, rows, None, length, length, device=str(segments.device), _compile=compiled)
