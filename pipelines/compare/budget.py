"""Checks before any work that both recipes train on as many tokens, and tells whether in the same order."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.compare.design import Arm, seed_recipe
from schemas.errors import UsageError
from training.data.plan import PackPlan
from training.model.tokens import load_tokenizer
from training.run_length import RunLength, compute_run_length
from training.set_up import check_batch_size, check_sequence_length, plan_packs, prepare_model

COMPARED_SAMPLES = 4096
"""Samples whose order is compared: a mixture that differs at all differs in its first thousands."""

COMPARED_KEYS = 64
"""Samples whose keys are compared: each may read another shard's index."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Holds what one recipe trains on."""

    steps: int
    positions: int  # of packed sequences over all steps: tokens of texts and images, and a little padding
    samples: int  # in one pass through its mixture
    plan: PackPlan


def compute_budget(arm: Arm, seed: int, ranks: int = 1) -> Budget:
    """Computes an arm's budget. Raises `UsageError`, which names the recipe, for what its training would refuse."""
    recipe = seed_recipe(arm.recipe, seed)
    try:
        check_batch_size(recipe, ranks)
        tokenizer, model = load_tokenizer(recipe.model), prepare_model(recipe, "meta")
        check_sequence_length(recipe, model)
        plan = plan_packs(recipe, model, tokenizer)
        length = compute_run_length(recipe, plan)
    except UsageError as error:
        raise UsageError(f"{arm.path}: {error}") from None
    _check_data_last(arm, length)
    positions = length.steps * recipe.global_batch_size * recipe.data.sequence_length
    return Budget(length.steps, positions, plan.mixture_plan.length, plan)


def _check_data_last(arm: Arm, length: RunLength) -> None:
    """Raises `UsageError` where the data run out before the last step, so that the budget would be another."""
    if arm.recipe.epochs is None and length.pass_steps < length.steps:
        about = "" if length.is_exact else "about "
        raise UsageError(
            f"{arm.path}: its data run out after {about}{length.pass_steps:,} of {length.steps:,} steps: "
            "set fewer steps, or repeat its sources (data.repeats)"
        )


def check_equal_budgets(first: tuple[Arm, Budget], second: tuple[Arm, Budget]) -> None:
    """Raises `UsageError` where the two recipes train on different numbers of positions."""
    (one, ours), (other, theirs) = first, second
    if ours.positions != theirs.positions:
        raise UsageError(
            f"the budgets are unequal: {one.path} trains on {ours.positions:,} positions ({ours.steps:,} steps) and "
            f"{other.path} on {theirs.positions:,} ({theirs.steps:,} steps): set steps in one of them, or steps=N here"
        )


def find_order_difference(first: PackPlan, second: PackPlan) -> str | None:
    """Returns why the two mixtures do not show the same samples in the same order; None if they do.

    Sequences may differ even so: a caption of another length goes into another sequence of the same packing window.
    """
    count = min(first.mixture_plan.length, second.mixture_plan.length, COMPARED_SAMPLES)
    (names, samples), (other_names, other_samples) = (_draw(plan, count) for plan in (first, second))
    if len(different := np.flatnonzero((names != other_names) | (samples != other_samples))):
        return f"the mixtures differ from sample {different[0] + 1:,} on"
    if first.mixture_plan.length != second.mixture_plan.length:
        return f"one mixture has {first.mixture_plan.length:,} samples and the other {second.mixture_plan.length:,}"
    for name, sample in list(zip(names.tolist(), samples.tolist(), strict=True))[:COMPARED_KEYS]:
        key, other_key = (_find_key(plan, name, sample) for plan in (first, second))
        if key != other_key:
            return f"sample {sample:,} of {name} is {key} in one and {other_key} in the other"
    return None


def _draw(plan: PackPlan, count: int) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    """Returns the source's name and the number in it of the first samples of a mixture."""
    drawn = plan.mixture_plan.take(0, count)
    names = np.asarray(plan.sources.names)[plan.sources.mixture_indices[drawn.sources]]
    return names, drawn.samples


def _find_key(plan: PackPlan, name: str, sample: int) -> str:
    rows = plan.sources.tables[plan.sources.names.index(name)].rows
    return str(rows.take(np.asarray([sample]))[0]["key"])
