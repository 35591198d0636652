"""Refuses a task that one of the two recipes' models can't answer, before any training."""

from collections.abc import Sequence

from pipelines.compare.design import Arm
from pipelines.evaluate.open_task import OpenTask
from schemas.errors import UsageError
from training.data.templates.prompts import resolve_prompts
from training.evaluation.task_fit import check_task
from training.model.tokens import load_tokenizer


def check_tasks_fit(arms: Sequence[Arm], tasks: Sequence[OpenTask]) -> None:
    """Raises `UsageError`, which names the recipe and the task, where an arm's models can't be asked a task."""
    for arm in arms:
        prompts = resolve_prompts(load_tokenizer(arm.recipe.model), arm.recipe.data)
        for task in tasks:
            has_images = any(question.images for question in task.questions)
            try:
                check_task(task.options, arm.recipe.model, prompts, has_images)
            except UsageError as error:
                raise UsageError(f"{arm.path}: task {task.options.name}: {error}") from None
