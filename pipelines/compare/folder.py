"""Keeps a comparison's folder: what was compared, and which trainings and evaluations are finished.

OUT/comparison.yaml            the two recipes and the tasks
OUT/{a,b,null}/seed-N/         run/, training.json once it is finished, predictions/ and quarantine/
OUT/comparison.json            the scores
"""

import json
from dataclasses import dataclass
from typing import Any

from curation.tasks.options import TaskOptions
from pipelines.compare.design import NULL, Arm, Training, seed_recipe
from pipelines.evaluate.model_scores import QUARANTINE, ROWS
from pipelines.evaluate.open_task import OpenTask
from schemas.errors import UsageError
from schemas.output_set.recipe_file import compare_recipes, dump_yaml, read_recipe
from schemas.storage.folder import Folder

DESIGN_FILE, RESULT_FILE = "comparison.yaml", "comparison.json"
TRAINING_FILE = "training.json"
"""Marks a finished training, whose export is complete; it is written last."""


@dataclass(frozen=True, slots=True)
class FinishedTraining:
    """Holds what a training's mark says."""

    seconds: float  # of the process that finished it
    seen: dict[str, int]  # tokens, images, samples and so on


def check_design(output: Folder, arms: list[Arm], tasks: list[TaskOptions]) -> None:
    """Raises `UsageError` where the folder has another comparison, or anything else. More tasks and seeds may come."""
    if not output.exists(DESIGN_FILE):
        if not output.is_empty():
            raise UsageError(f"{output.url} is not empty and holds no {DESIGN_FILE}: pass a new --output")
        return
    stored = read_recipe(output.resolve_path(DESIGN_FILE))
    for arm in _select_recipes(arms):
        if conflicts := compare_recipes(stored.get(arm.name), _describe_recipe(arm)):  # not even steps are free here
            raise UsageError(
                f"{output.url} compares another recipe {arm.name} ({'; '.join(conflicts[:4])}): pass a new --output"
            )
    for task in tasks:
        before = (stored.get("tasks") or {}).get(task.name)
        if before is not None and (conflicts := compare_recipes(before, task.model_dump(mode="json"))):
            raise UsageError(
                f"{output.url} has answers to another task {task.name} ({'; '.join(conflicts[:4])}): pass a new "
                "--output, or give the task another name"
            )


def write_design(output: Folder, arms: list[Arm], tasks: list[TaskOptions]) -> None:
    """Stores what is compared, the tasks beside those of earlier calls."""
    stored = read_recipe(output.resolve_path(DESIGN_FILE)) if output.exists(DESIGN_FILE) else {}
    named = (stored.get("tasks") or {}) | {task.name: task.model_dump(mode="json") for task in tasks}
    recipes = {arm.name: _describe_recipe(arm) for arm in _select_recipes(arms)}
    design = dump_yaml({"kind": "compare", **recipes, "tasks": dict(sorted(named.items()))})
    if not stored or output.read(DESIGN_FILE) != design:
        output.write(DESIGN_FILE, design)


def _select_recipes(arms: list[Arm]) -> list[Arm]:
    return [arm for arm in arms if arm.name != NULL]  # its recipe is the first one's


def _describe_recipe(arm: Arm) -> dict[str, Any]:
    """Returns the half of the recipe that decides the result, but for its seeds, which a comparison sets."""
    return seed_recipe(arm.recipe, 0).resolve()


def read_finished(training: Training) -> FinishedTraining | None:
    """Returns what a finished training has left; None for one that is not."""
    folder = Folder(str(training.folder))
    if not folder.exists(TRAINING_FILE):
        return None
    found = json.loads(folder.read(TRAINING_FILE))
    return FinishedTraining(found["seconds"], found["seen"])


def mark_finished(training: Training, finished: FinishedTraining) -> None:
    """Marks a training as finished."""
    found = {"seconds": round(finished.seconds, 1), "seen": finished.seen}
    Folder(str(training.folder)).write(TRAINING_FILE, json.dumps(found).encode())


def list_unanswered(training: Training, tasks: list[OpenTask]) -> list[tuple[OpenTask, int]]:
    """Lists the tasks, each with a number of demonstrations, that the training's model has still to answer."""
    folder = Folder(str(training.folder))
    return [
        (task, shots)
        for task in tasks
        for shots in task.options.shots
        if not all(folder.exists(f"{part}/{name_predictions(task, shots)}.parquet") for part in (ROWS, QUARANTINE))
    ]


def name_predictions(task: OpenTask, shots: int) -> str:
    """Returns the name of a file of predictions."""
    return f"{task.options.name}-{shots}shot"
