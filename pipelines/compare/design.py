"""Lists the trainings of a comparison: each recipe with each seed, in pairs that share all that a seed decides."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import UsageError
from training.recipe import CHANGEABLE_DATA_KEYS, TrainRecipe

FIRST, SECOND, NULL = "a", "b", "null"
"""The arms: the two recipes, and the first one again with other seeds, whose difference from itself is noise."""

NULL_SEEDS = 1000
"""What is added to the seeds of the null: far enough that more seeds later on are others still."""

RUN = "run"

_OWN_KEYS = ("seed", "model.seed", "data.seed", "run.output")
"""What a comparison sets for each training."""


@dataclass(frozen=True, slots=True)
class Arm:
    """Holds one side of the comparison."""

    name: str
    path: str  # of the recipe's file
    recipe: TrainRecipe
    overrides: tuple[str, ...] = ()  # `key=value`, which the recipe has already


@dataclass(frozen=True, slots=True)
class Training:
    """Holds one training, whose model is evaluated in the same folder."""

    arm: str
    seed: int
    recipe: TrainRecipe  # with this seed, and the run's folder
    arguments: tuple[str, ...]  # the same recipe as arguments of the trainer's command
    folder: Path

    @property
    def run_folder(self) -> Path:
        """Returns the folder of the run, with checkpoints and the export."""
        return self.folder / RUN

    @property
    def title(self) -> str:
        """Returns a name for messages."""
        return f"{self.arm} with seed {self.seed}"


def check_overrides(overrides: Sequence[str]) -> None:
    """Raises `UsageError` for an override of what a comparison sets itself."""
    for override in overrides:
        if override.partition("=")[0] in _OWN_KEYS:
            raise UsageError(
                f"{override}: compare sets the seeds and folders of its trainings: pass --first-seed, --output"
            )


def check_recipes_differ(first: Arm, second: Arm) -> None:
    """Raises `UsageError` for recipes whose trainings would be the same, with the same seeds, to the bit."""
    one, other = (
        seed_recipe(arm.recipe, 0).model_dump(
            exclude={"run": True, "checkpoint": True, "data": set(CHANGEABLE_DATA_KEYS)}
        )
        for arm in (first, second)
    )
    if one == other:
        raise UsageError(
            f"{first.path} and {second.path} are the same recipe, so that there is nothing to compare: change one; "
            "--null shows how much seeds alone change"
        )


def list_trainings(arms: Sequence[Arm], seeds: Sequence[int], output: str) -> list[Training]:
    """Lists all trainings seed by seed, so that each pair is complete before the next one begins."""
    return list(_iterate_trainings(arms, seeds, Path(output)))


def _iterate_trainings(arms: Sequence[Arm], seeds: Sequence[int], output: Path) -> Iterator[Training]:
    for seed in seeds:
        for arm in arms:
            own = seed + NULL_SEEDS if arm.name == NULL else seed
            folder = output / arm.name / f"seed-{own}"
            seeded = tuple(f"{key}={own}" for key in ("seed", "model.seed", "data.seed"))
            recipe = seed_recipe(arm.recipe, own, str(folder / RUN))
            yield Training(arm.name, own, recipe, (arm.path, *arm.overrides, *seeded), folder)


def seed_recipe(recipe: TrainRecipe, seed: int, output: str | None = None) -> TrainRecipe:
    """Returns the recipe with one seed for new weights, the order of the data, and dropout."""
    return recipe.model_copy(
        update={
            "seed": seed,
            "model": recipe.model.model_copy(update={"seed": seed}),
            "data": recipe.data.model_copy(update={"seed": seed}),
            "run": recipe.run.model_copy(update={"output": output}),
        }
    )
