"""Refuses a task that a model can't be asked, from the options of both: before any training and any question."""

from curation.tasks.options import TaskOptions
from schemas.errors import UsageError
from training.model.config import ModelOptions, PromptOptions


def check_task(task: TaskOptions, model: ModelOptions, prompts: PromptOptions, has_images: bool = False) -> None:
    """Raises `UsageError` for a task that the model can't answer; `has_images` says whether its questions have some."""
    chosen = None if task.demonstrations is None else task.demonstrations.full_resolution
    if chosen is not None and not model.any_resolution.enabled:
        raise UsageError(
            "demonstrations.full_resolution: this model sees each image in one tile, so that there is no lower "
            "resolution; leave it out"
        )
    if task.prompt.format == "chat" and prompts.template_fault is not None:
        raise UsageError("prompt.format: this model was trained on no conversations; set it to document")
    if has_images and model.vision is None:
        raise make_no_tower_error()


def make_no_tower_error() -> UsageError:
    """Returns the error of a language model by itself that is shown an image."""
    return UsageError("evaluate: this model has no vision tower and takes no images; give it texts alone")
