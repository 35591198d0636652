"""Finds the words that condition the images of a batch: those of the first user turn of each image's conversation."""

import torch
from torch import Tensor

from training.batch import Batch


def gather_instructions(batch: Batch, image: int, tokens_per_tile: int, max_words: int) -> tuple[Tensor, Tensor]:
    """Returns the instruction of each tile: token ids [K, L], and bool [K, L] that is False for padding.

    `image` is the token of image positions, `tokens_per_tile` of which each tile takes; where a connector takes whole
    images, these are in place of tiles. L is the length of the longest
    instruction in the batch, `max_words` at most; of longer ones the first words are used. A sample's words are never
    those of another in its sequence.
    """
    rows, columns = (batch.tokens == image).nonzero(as_tuple=True)
    rows, columns = rows[::tokens_per_tile], columns[::tokens_per_tile]
    segments = batch.segments[rows]
    own = batch.instructions[rows] & (segments == batch.segments[rows, columns][:, None])
    own &= own.cumsum(dim=1) <= max_words
    length = int(own.sum(dim=1).max()) if len(own) else 0
    first = torch.argsort((~own).to(torch.uint8), dim=1, stable=True)[:, :length]
    return batch.tokens[rows].gather(1, first), own.gather(1, first)
