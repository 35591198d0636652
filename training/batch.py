"""Defines the batch of packed sequences that the loader makes and the model takes."""

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

IGNORE_INDEX = -100
"""The label of a position that does not enter the loss."""

PADDING = -1
"""The segment and the source of a padding position."""


@dataclass(frozen=True, slots=True)
class SampleName:
    """Names a sample in error messages, precisely enough to find it again."""

    source: str
    shard: str  # path or URL
    key: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Holds B packed sequences of T positions, and the K tiles of all their images in reading order.

    Each position of an image holds the vocabulary's token `image`. The model replaces its embedding by an output of
    the connector: those of the first tile take the first such positions, and so on, row after row.
    """

    tokens: Tensor  # int64 [B, T]
    labels: Tensor  # int64 [B, T]: the token to be predicted *from* this position (shifted already), or IGNORE_INDEX
    positions: Tensor  # int64 [B, T]: from 0 in each segment
    segments: Tensor  # int64 [B, T]: number of the sample (or piece of one) in its sequence, or PADDING
    sources: Tensor  # int64 [B, T]: index of the source, or PADDING
    instructions: Tensor  # bool [B, T]: the words of a conversation's first user turn, which may condition its images
    tiles: Tensor  # uint8 [K, 3, S, S]
    valid: Tensor  # bool [K, S/patch * S/patch]: cells that show the picture rather than its border, row by row
    grids: Tensor  # int64 [I, 2]: columns and rows of each image's tiles; 0, 0: one tile of fixed size, no thumbnail
    samples: tuple[tuple[SampleName, ...], ...]  # of each sequence, in the order of its segments

    def to(self, device: torch.device) -> "Batch":
        """Returns the batch with its tensors on `device`."""
        moved: dict[str, Any] = {
            field.name: value.to(device, non_blocking=True)
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return replace(self, **moved)


def concatenate_batches(batches: list[Batch]) -> Batch:
    """Concatenates batches of the same T into one."""
    names = [field.name for field in fields(Batch) if field.name != "samples"]
    concatenated = {name: torch.cat([getattr(batch, name) for batch in batches]) for name in names}
    return Batch(**concatenated, samples=tuple(row for batch in batches for row in batch.samples))
