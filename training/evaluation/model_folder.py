"""Finds the model to evaluate: an export, a checkpoint, or what a run has of them."""

from pathlib import Path

from schemas.errors import UsageError
from training.checkpoint import find_latest, is_checkpoint
from training.model.pretrained import CONFIG_FILE
from training.parallel import Ranks
from training.set_up import CHECKPOINTS_FOLDER, MODEL_FOLDER


def find_model_folder(path: str) -> Path:
    """Returns the folder itself, if it is an export or a checkpoint; of a run its export, else its newest checkpoint.

    Raises `UsageError` where there is none.
    """
    folder = Path(path)
    if is_checkpoint(folder) or (folder / CONFIG_FILE).is_file():
        return folder
    if ((exported := folder / MODEL_FOLDER) / CONFIG_FILE).is_file():
        return exported
    latest = find_latest(folder / CHECKPOINTS_FOLDER, Ranks()) if (folder / CHECKPOINTS_FOLDER).is_dir() else None
    if latest is None:
        raise UsageError(f"{path} is no model: pass an export, a checkpoint, or the folder of a run that has either")
    return latest.folder
