"""Computes the training loss: cross-entropy of the next token, over text positions only.

The loss of a step is the sum over its labelled positions on all ranks and in all micro-batches, divided by their
number, which is known before the first backward pass. So a token has the same weight in every micro-batch, and
nothing is averaged afterwards.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from training.batch import IGNORE_INDEX, Batch

LOGITS_CHUNK_SIZE = 4096  # positions whose logits are in fp32 at once: 0.5 GB with a vocabulary of 32,015


@dataclass(frozen=True, slots=True)
class MicroBatchLoss:
    """Holds the loss of one micro-batch."""

    contribution: Tensor  # its part of the step's loss, loss weights applied: the backward pass starts here
    loss_sums: Tensor  # float64 [sources]: sum of the loss over labelled positions, without loss weights
    label_counts: Tensor  # int64 [sources]: labelled positions


def make_label_mask(batch: Batch) -> Tensor:
    """Returns bool [B, T], True at the positions that enter the loss."""
    return batch.labels != IGNORE_INDEX


def compute_micro_batch_loss(model: nn.Module, batch: Batch, total_labels: int, loss_weights: Tensor) -> MicroBatchLoss:
    """Computes the loss of one micro-batch of a step that has `total_labels` labelled positions.

    `loss_weights`, float32 [sources], are the loss weights. A batch without labelled positions gives a share of 0, and
    gradients of 0 for every trainable parameter.
    """
    at = make_label_mask(batch)
    logits = model(batch, at)
    labels, sources = batch.labels[at], batch.sources[at]
    losses = torch.cat([torch.zeros(0, device=labels.device), *_cross_entropy_in_chunks(logits, labels)])
    share = (losses * loss_weights[sources]).sum() / max(total_labels, 1)
    if not len(labels):
        share = share + logits.sum() * 0.0
    counts = torch.bincount(sources, minlength=len(loss_weights))
    loss_sums = torch.zeros(len(loss_weights), dtype=torch.float64, device=losses.device)
    return MicroBatchLoss(share, loss_sums.index_add_(0, sources, losses.detach().double()), counts)


def _cross_entropy_in_chunks(logits: Tensor, labels: Tensor) -> list[Tensor]:
    """Computes the loss at each position, `LOGITS_CHUNK_SIZE` at a time; the backward pass recomputes the logits in
    fp32.
    """
    if len(labels) <= LOGITS_CHUNK_SIZE:
        return [_cross_entropy(logits, labels)]
    parts = zip(torch.split(logits, LOGITS_CHUNK_SIZE), torch.split(labels, LOGITS_CHUNK_SIZE), strict=True)
    return [checkpoint(_cross_entropy, some, right, use_reentrant=False) for some, right in parts]


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(logits.float(), labels, reduction="none")
