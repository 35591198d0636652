"""Checks before any work that both recipes train on as many tokens, or images, and tells whether in the same order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.compare.design import FIRST, SECOND, Arm, Training, seed_recipe
from schemas.errors import UsageError
from training.data.plan import PackPlan
from training.evaluation.held_out_parts import pack_held_out
from training.model.tokens import load_tokenizer
from training.run_length import RunLength, compute_run_length
from training.set_up import check_batch_size, check_sequence_length, plan_packs, prepare_model

COMPARED_SAMPLES = 4096
"""Samples whose order is compared: a mixture that differs at all differs in its first thousands."""

COMPARED_KEYS = 64
"""Samples whose keys are compared: each may read another shard's index."""


Equal = Literal["positions", "images"]
"""What both recipes train on as many of."""

SEED_MARGIN = 1.05
"""A pass of so many times the steps gives enough data with each seed: with another order it differs by less."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Holds what one recipe trains on."""

    steps: int
    positions: int  # of packed sequences over all steps: tokens of texts and images, and a little padding
    samples: int  # in one pass through its mixture
    plan: PackPlan
    depends_on_seed: bool  # whether another order of the samples may give another number of steps

    def count_images(self) -> int:
        """Counts the images of all steps; those of pieces of a document with images of unequal sizes to about one."""
        packs = self.positions // self.plan.sequence_format.max_tokens
        found = 0.0
        for pack in islice(self.plan.iterate_packs(), packs):
            for source in np.unique(pack.sources).tolist():
                held = pack.sources == source
                numbers, samples = self.plan.sources.tables[source].numbers, pack.samples[held]
                tiles = np.maximum(numbers["tiles"][samples], 1)
                found += float((numbers["images"][samples] * pack.tiles[held] / tiles).sum())
        return round(found)


def compute_budget(arm: Arm, seed: int, ranks: int = 1) -> Budget:
    """Computes an arm's budget. Raises `UsageError`, which names the recipe, for what its training would refuse."""
    recipe = seed_recipe(arm.recipe, seed)
    try:
        check_batch_size(recipe, ranks)
        tokenizer, model = load_tokenizer(recipe.model), prepare_model(recipe, "meta")
        check_sequence_length(recipe, model)
        plan = plan_packs(recipe, model, tokenizer)
        if recipe.data.held_out is not None:
            pack_held_out(plan, recipe.data.held_out)
        length = compute_run_length(recipe, plan)
    except UsageError as error:
        raise UsageError(f"{arm.path}: {error}") from None
    _check_data_last(arm, length)
    positions = length.steps * recipe.global_batch_size * recipe.data.sequence_length
    depends = recipe.epochs is not None or length.pass_steps < SEED_MARGIN * length.steps
    return Budget(length.steps, positions, plan.mixture_plan.length, plan, depends)


def find_steps(
    arms: Sequence[Arm], trainings: Sequence[Training], budgets: Mapping[str, Budget], equal: Equal, ranks: int = 1
) -> list[int]:
    """Returns the steps of each training: those of `budgets`, of the first seed, unless they depend on the seed.

    Raises `UsageError` where the budgets of a pair are unequal, or a training's data run out.
    """
    by_name = {arm.name: arm for arm in arms}
    found: dict[tuple[str, int], Budget] = {}
    for training in trainings:
        known = budgets.get(training.arm, budgets[FIRST])
        again = known.depends_on_seed and (training.arm not in budgets or training.seed != trainings[0].seed)
        budget = compute_budget(by_name[training.arm], training.seed, ranks) if again else known
        found[training.arm, training.seed] = budget
        first = found.get((FIRST, training.seed))
        if training.arm == SECOND and (first, budget) != (budgets[FIRST], budgets[SECOND]):
            assert first is not None
            check_equal_budgets((by_name[FIRST], first), (by_name[SECOND], budget), equal, training.seed)
    return [found[training.arm, training.seed].steps for training in trainings]


def _check_data_last(arm: Arm, length: RunLength) -> None:
    """Raises `UsageError` where the data run out before the last step, so that the budget would be another."""
    if arm.recipe.epochs is None and length.pass_steps < length.steps:
        about = "" if length.is_exact else "about "
        raise UsageError(
            f"{arm.path}: its data run out after {about}{length.pass_steps:,} of {length.steps:,} steps: "
            "set fewer steps, or repeat its sources (data.repeats)"
        )


def check_equal_budgets(
    first: tuple[Arm, Budget], second: tuple[Arm, Budget], equal: Equal = "positions", seed: int | None = None
) -> None:
    """Raises `UsageError` where the two recipes train on different numbers of positions, or of images.

    Numbers of images are equal where one step more or less would not make them more equal. `seed` is named if given.
    """
    (one, ours), (other, theirs) = first, second
    where = "the budgets are unequal" if seed is None else f"the budgets are unequal with seed {seed}"
    if equal == "images":
        _check_equal_images(first, second, where)
    elif ours.positions != theirs.positions:
        raise UsageError(
            f"{where}: {one.path} trains on {ours.positions:,} positions ({ours.steps:,} steps) and "
            f"{other.path} on {theirs.positions:,} ({theirs.steps:,} steps): set steps in one of them, or steps=N here"
        )


def _check_equal_images(first: tuple[Arm, Budget], second: tuple[Arm, Budget], where: str) -> None:
    (one, ours), (other, theirs) = first, second
    count, other_count = ours.count_images(), theirs.count_images()
    for arm, images in ((one, count), (other, other_count)):
        if not images:
            raise UsageError(f"--equal images: {arm.path} trains on no images: leave it out")
    if abs(count - other_count) > max(count / ours.steps, other_count / theirs.steps):
        steps = max(round(theirs.steps * count / other_count), 1)
        raise UsageError(
            f"{where}: {one.path} trains on {count:,} images ({ours.steps:,} steps) and {other.path} on "
            f"{other_count:,} ({theirs.steps:,} steps): set steps of the second to about {steps:,}"
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
