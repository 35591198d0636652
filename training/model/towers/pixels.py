"""Normalises pixels as vision towers were trained on them."""

import torch
from torch import Tensor

from training.model.towers.families import Channels


def normalize_pixels(
    tiles: Tensor, mean: Channels, deviation: Channels, precision: torch.dtype = torch.float32
) -> Tensor:
    """Returns tiles, uint8 [K, 3, S, S], less the mean and divided by the deviation of each channel, in `precision`."""
    # In bf16 the subtraction would cost the middle grey levels half a level of precision.
    pixels = tiles.to(torch.promote_types(precision, torch.float32))
    for channel, (middle, scale) in enumerate(zip(mean, deviation, strict=True)):
        pixels[:, channel].div_(255 * scale).sub_(middle / scale)
    return pixels.to(precision)
