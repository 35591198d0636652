"""Computes how many steps a run takes and the data give, and warns when they and the schedule do not fit."""

import json
import math
from dataclasses import asdict, dataclass

from schemas.log import LOG
from training.data.pass_length import count_packs, estimate_packs
from training.data.plan import PackPlan
from training.parallel import Ranks
from training.recipe import TrainRecipe
from training.schedule import compute_lr_factor


@dataclass(frozen=True, slots=True)
class RunLength:
    """Holds numbers of steps."""

    steps: int  # of the run: its schedule ends at the last
    pass_steps: int  # that one pass through the data gives
    is_exact: bool  # whether `pass_steps` was counted, not estimated


def compute_run_length(recipe: TrainRecipe, plan: PackPlan) -> RunLength:
    """Computes the length of a run with this plan. Epochs are counted exactly, some seconds for a million samples."""
    batch = recipe.global_batch_size  # packs; the last step is filled up
    if recipe.steps is not None:
        found = estimate_packs(plan)
        return RunLength(recipe.steps, math.ceil(found.packs / batch), found.is_exact)
    assert recipe.epochs is not None  # as the recipe has checked
    packs = count_packs(plan)
    return RunLength(math.ceil(packs / batch), math.ceil(packs / recipe.epochs / batch), recipe.epochs == 1)


def share_run_length(recipe: TrainRecipe, plan: PackPlan, ranks: Ranks) -> RunLength:
    """Returns the run's length, which the first rank computes for all."""
    found = json.dumps(asdict(compute_run_length(recipe, plan))) if ranks.is_first else ""
    return RunLength(**json.loads(ranks.broadcast("run length", found)))


def describe_pass(recipe: TrainRecipe, length: RunLength) -> str:
    """Describes the steps of one pass in words."""
    is_endless = None in recipe.data.repeats.values()
    end = " to data.stop, over sources that repeat without end" if is_endless else ""
    return f"one pass: {'' if length.is_exact else 'about '}{length.pass_steps:,} steps{end}"


def announce(recipe: TrainRecipe, length: RunLength) -> None:
    """Logs the run's length, and a warning for each thing that does not fit it."""
    epochs = "" if recipe.epochs is None else f"{recipe.epochs:,} epoch{'s' if recipe.epochs > 1 else ''}, "
    batch = f"{recipe.global_batch_size:,} sequence{'s' if recipe.global_batch_size > 1 else ''}"
    LOG.info(f"training: {epochs}{length.steps:,} steps of {batch}; {describe_pass(recipe, length)}")
    for fault in find_length_faults(recipe, length):
        LOG.warning(fault)


def find_length_faults(recipe: TrainRecipe, length: RunLength) -> list[str]:
    """Lists what a user should know before the first step: data that run out, and a warm-up that has no end."""
    found, last = [], length.steps
    if recipe.epochs is None and length.pass_steps < length.steps:
        last = length.pass_steps
        about, rate = "" if length.is_exact else "about ", compute_lr_factor(recipe.schedule, last - 1, length.steps)
        advice = f"set steps={last}, or epochs=1 with steps=null, or repeat the sources (data.repeats)"
        if None in recipe.data.repeats.values():
            advice = "raise data.stop"
        found.append(
            f"steps: the data run out after {about}{last:,} of {length.steps:,} steps, at {rate:.0%} of the peak "
            f"learning rate: {advice}"
        )
    if recipe.schedule.warmup_steps >= last:
        found.append(
            f"schedule.warmup_steps: {recipe.schedule.warmup_steps:,} steps of warm-up do not end within the run's "
            f"{last:,} steps, so the learning rate never reaches its peak: set fewer"
        )
    return found
