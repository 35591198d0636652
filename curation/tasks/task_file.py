"""Reads task files."""

from pathlib import PurePath

from curation.tasks.options import TaskOptions
from schemas.output_set.recipe_file import read_recipe, validate_options
from schemas.output_set.recipe_paths import anchor_paths

KIND = "task"


def load_task(path: str) -> TaskOptions:
    """Reads a task file, whose relative paths are relative to its folder; its name is the default of the task's.

    Raises `UsageError` naming what is wrong.
    """
    values = anchor_paths(read_recipe(path), TaskOptions, path)
    task = validate_options(TaskOptions, values, path, what=KIND)
    return task if task.name else task.model_copy(update={"name": PurePath(path).stem})
