"""Takes one optimizer step: the micro-batches' forward and backward passes, and a check before weights change."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from schemas.errors import ShardloomError, to_one_line
from training.batch import Batch
from training.objective import MicroBatchLoss, compute_micro_batch_loss, make_label_mask
from training.optimizer import select_trainable
from training.parallel import Ranks, autocast, sync_gradients
from training.recipe import TrainRecipe

_MAX_NAMED_SAMPLES = 3  # samples to name in an error


@dataclass(frozen=True, slots=True)
class Trainer:
    """Holds what a step needs."""

    recipe: TrainRecipe
    ranks: Ranks
    model: nn.Module  # the one to call, wrapped for the ranks
    optimizer: torch.optim.AdamW
    loss_weights: Tensor  # float32 [sources]: loss weights


@dataclass(frozen=True, slots=True)
class StepResult:
    """Holds the result of a step over all ranks."""

    loss: float  # the one trained on: a mean over labelled positions, loss weights applied
    loss_sums: list[float]  # sum of the loss by source, without loss weights
    label_counts: list[int]  # labelled positions by source
    gradient_norm: float  # before clipping

    def average_by_source(self, names: list[str]) -> dict[str, float]:
        """Returns the mean loss of each source that had labelled positions in the step."""
        found = zip(names, self.loss_sums, self.label_counts, strict=True)
        return {name: total / count for name, total, count in found if count}


def count_labels(batches: list[Batch]) -> int:
    """Counts the positions that enter the loss."""
    return sum(int(make_label_mask(batch).sum()) for batch in batches)


def take_step(trainer: Trainer, batches: list[Batch], total_labels: int, step: int) -> StepResult:
    """Takes one step on this rank's micro-batches; `total_labels` is the number of labelled positions on all ranks.

    Raises `ShardloomError` on all ranks, before any weight changes, when the loss or the gradient is not finite, and
    on this rank when the GPU's memory is full.
    """
    try:
        return _run_step(trainer, batches, total_labels, step)
    except torch.OutOfMemoryError as error:
        place, what = f"step {step + 1}, rank {trainer.ranks.rank}", to_one_line(error)
        advice = "use a smaller micro, activation_checkpointing=true or more ranks; --dry-run estimates the need"
        raise ShardloomError(f"{place}: the GPU's memory is full ({what}): {advice}") from None


def _run_step(trainer: Trainer, batches: list[Batch], total_labels: int, step: int) -> StepResult:
    recipe, ranks = trainer.recipe, trainer.ranks
    torch.manual_seed(_derive_seed(recipe.seed, step, ranks.rank))  # a function of the step, so no state is saved
    losses = []
    for number, batch in enumerate(batches):
        with sync_gradients(trainer.model, number == len(batches) - 1, recipe.reduce_gradients):
            with autocast(recipe, ranks):
                found = compute_micro_batch_loss(
                    trainer.model, batch.to(ranks.device), total_labels, trainer.loss_weights
                )
            found.contribution.backward()  # type: ignore[no-untyped-call]
        losses.append(MicroBatchLoss(found.contribution.detach(), found.loss_sums, found.label_counts))
    norm = _clip_gradients(trainer.model, recipe.optimizer.max_grad_norm)
    outcome, own = _all_reduce_losses(losses, norm, ranks, f"step {step + 1}")
    if not math.isfinite(outcome.loss) or not math.isfinite(outcome.gradient_norm):
        raise _make_not_finite_error(trainer, batches, own, outcome, step)
    trainer.optimizer.step()
    trainer.optimizer.zero_grad(set_to_none=True)
    return outcome


def _derive_seed(seed: int, step: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed % (1 << 32), step, rank]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _clip_gradients(model: nn.Module, max_norm: float | None) -> Tensor:
    """Scales the gradients down to a norm of `max_norm`, and returns the norm that they had on all ranks together."""
    norm = nn.utils.clip_grad_norm_(model.parameters(), math.inf if max_norm is None else max_norm)
    return norm.full_tensor() if isinstance(norm, DTensor) else norm


def _all_reduce_losses(
    losses: list[MicroBatchLoss], norm: Tensor, ranks: Ranks, operation: str
) -> tuple[StepResult, list[float]]:
    """Returns the outcome over all ranks, and this rank's losses by micro-batch.

    This is the only place in a step where the host waits for the device.
    """
    loss_sums = torch.stack([found.loss_sums for found in losses]).sum(0)
    counts = torch.stack([found.label_counts for found in losses]).sum(0)
    shares = torch.stack([found.contribution for found in losses]).double()
    own = torch.cat((norm.detach().double().reshape(1), shares, loss_sums, counts.double())).tolist()
    gradient_norm, own_shares, rest = own[0], own[1 : 1 + len(losses)], own[1 + len(losses) :]
    share, *both = ranks.all_reduce(
        [math.fsum(own_shares) if all(map(math.isfinite, own_shares)) else math.nan, *rest], operation
    )
    half = len(both) // 2
    return StepResult(share, both[:half], [int(count) for count in both[half:]], gradient_norm), own_shares


def _make_not_finite_error(
    trainer: Trainer, batches: list[Batch], shares: list[float], outcome: StepResult, step: int
) -> ShardloomError:
    """Builds the error: it names the samples of the first micro-batch whose loss is not finite, or of all."""
    what = f"the loss is {outcome.loss}" if not math.isfinite(outcome.loss) else "the gradient is not finite"
    if broken := [name for name, held in select_trainable(trainer.model).items() if not _is_finite(held)]:
        cause = f"the weight {broken[0]} was not finite before the step: resume from an earlier checkpoint"
    else:
        cause = "all weights were finite: check these samples, or start a new --output with a lower learning rate"
    place = f"step {step + 1}, rank {trainer.ranks.rank}"
    wrong = [batch for batch, share in zip(batches, shares, strict=True) if not math.isfinite(share)]
    if not math.isfinite(outcome.loss) and not wrong:
        return ShardloomError(f"{place}: {what}, the step was not taken: another rank's error names the samples")
    suspects = wrong[:1] or batches
    names = [f"{name.source} {name.shard} {name.key}" for batch in suspects for row in batch.samples for name in row]
    more = f" and {len(names) - _MAX_NAMED_SAMPLES} more" if len(names) > _MAX_NAMED_SAMPLES else ""
    return ShardloomError(
        f"{place}: {what}, the step was not taken: {', '.join(names[:_MAX_NAMED_SAMPLES])}{more}; {cause}"
    )


def _is_finite(parameter: Tensor) -> bool:
    local = parameter.to_local() if isinstance(parameter, DTensor) else parameter
    return bool(torch.isfinite(local).all())
