"""What is learnt: the next token, over text alone.

The loss of a step is the sum over its labelled positions on all ranks and in all micro-batches, divided by their
number, which is known before the first backward: so a token counts the same in whichever micro-batch it lies, and
nothing has to be averaged afterwards.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from training.batch import IGNORED, Batch

ROWS = 4096  # positions whose logits are held in fp32 at once: 0.5 GB of 32,015 columns


@dataclass(frozen=True, slots=True)
class Loss:
    """Of one micro-batch."""

    share: Tensor  # what it adds to the step's loss, multipliers applied: goes backwards
    sums: Tensor  # float64 [sources]: of the loss over labelled positions, without multipliers
    counts: Tensor  # int64 [sources]: labelled positions


def labelled(batch: Batch) -> Tensor:
    """Bool [B, T]: the positions from which something is learnt."""
    return batch.labels != IGNORED


def loss(model: nn.Module, batch: Batch, total: int, multipliers: Tensor) -> Loss:
    """The loss of a micro-batch of a step with `total` labelled positions; `multipliers` are by source, float32.

    A batch without any gives a share of 0, and gradients of 0 for every parameter that learns.
    """
    at = labelled(batch)
    logits = model(batch, at)
    labels, sources = batch.labels[at], batch.sources[at]
    losses = torch.cat([torch.zeros(0, device=labels.device), *_by_rows(logits, labels)])
    share = (losses * multipliers[sources]).sum() / max(total, 1)
    if not len(labels):
        share = share + logits.sum() * 0.0
    counts = torch.bincount(sources, minlength=len(multipliers))
    sums = torch.zeros(len(multipliers), dtype=torch.float64, device=losses.device)
    return Loss(share, sums.index_add_(0, sources, losses.detach().double()), counts)


def _by_rows(logits: Tensor, labels: Tensor) -> list[Tensor]:
    """The loss at each position, some at a time; what they need in fp32 is made again on the way back."""
    if len(labels) <= ROWS:
        return [_cross_entropy(logits, labels)]
    parts = zip(torch.split(logits, ROWS), torch.split(labels, ROWS), strict=True)
    return [checkpoint(_cross_entropy, some, right, use_reentrant=False) for some, right in parts]


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(logits.float(), labels, reduction="none")
