"""Reads task files, and lists of tasks such as the columns of a paper's table."""

from pathlib import PurePath

from curation.tasks.options import TaskListOptions, TaskOptions
from schemas.errors import UsageError
from schemas.output_set.recipe_file import format_value, validate_options
from schemas.output_set.recipe_layers import RecipeLayer, merge_layers, read_layers

KIND = TaskOptions.kind
LIST = TaskListOptions.kind


def load_tasks(path: str) -> list[TaskOptions]:
    """Reads a task file, or all tasks of a list, whose `each` is laid on top of every one.

    Raises `UsageError` naming what is wrong.
    """
    if merge_layers(read_layers(path)).get("kind") != LIST:
        return [load_task(path)]
    listed = validate_options(TaskListOptions, TaskListOptions.read_file(path), path, what=LIST)
    return [load_task(task, RecipeLayer(path, dict(listed.each))) for task in listed.tasks]


def load_task(path: str, changes: RecipeLayer | None = None) -> TaskOptions:
    """Reads a task file with its bases; its name is the default of the task's.

    Relative paths are relative to the file that names them. `changes` are laid on top of it. Raises `UsageError`
    naming what is wrong.
    """
    values = TaskOptions.read_file(path)
    if "kind" in values:
        raise UsageError(f"{path} is of the kind {format_value(values['kind'])}, not {KIND}")
    if changes is not None:
        values = merge_layers([RecipeLayer(path, values), changes])
    task = validate_options(TaskOptions, values, path, what=KIND)
    return task if task.name else task.model_copy(update={"name": PurePath(path).stem})
