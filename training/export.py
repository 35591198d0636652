"""Exports the model of a checkpoint, as a run exports its own at the end."""

from pathlib import Path
from typing import Literal

import torch

from schemas.errors import UsageError
from schemas.log import LOG
from training.checkpoint import (
    Checkpoint,
    find_latest,
    format_checkpoint_name,
    is_checkpoint,
    list_checkpoints,
    open_checkpoint,
)
from training.checkpoint_model import load_checkpoint_model
from training.model.pretrained import check_is_new, save_pretrained
from training.parallel import Ranks
from training.set_up import CHECKPOINTS_FOLDER, MODEL_FOLDER

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

_ALONE = Ranks()


def export_checkpoint(
    run: str, step: int | None = None, dtype: Literal["fp32", "bf16"] = "fp32", output: str | None = None
) -> Path:
    """Exports the model of a checkpoint and returns its folder, which `load_pretrained` reads.

    `run` is a run's folder, or one checkpoint's. The default `step` is the newest intact checkpoint's, the default
    `output` the folder in which the run itself exports its model, or, where it has done so, one with the step in its
    name. Raises `UsageError` when there is no such checkpoint, or the output is not empty.
    """
    path = Path(run)
    checkpoint = _find_checkpoint(path, step)
    target = Path(output) if output is not None else _choose_folder(checkpoint)
    check_is_new(target)
    LOG.info(f"export: loading the checkpoint after step {checkpoint.state.step:,}")
    loaded = load_checkpoint_model(checkpoint)
    state = {
        name: tensor.to(DTYPES[dtype]) if tensor.is_floating_point() else tensor
        for name, tensor in loaded.model.state_dict().items()
    }
    save_pretrained(loaded.model, loaded.tokenizer, target, state, loaded.prompts)
    return target


def _find_checkpoint(path: Path, step: int | None) -> Checkpoint:
    if is_checkpoint(path):
        folder, names = path.resolve().parent, [path.resolve().name]
    else:
        folder = path / CHECKPOINTS_FOLDER
        names = list_checkpoints(folder)
    if not names:
        raise UsageError(f"export: {path} is neither a run with checkpoints nor a checkpoint; pass a run's folder")
    if step is not None and format_checkpoint_name(step) not in names:
        raise UsageError(f"export: {path} has no checkpoint of step {step:,}, only {', '.join(reversed(names))}")
    if step is None and len(names) > 1 and (latest := find_latest(folder, _ALONE)) is not None:
        return latest
    return open_checkpoint(folder / (names[0] if step is None else format_checkpoint_name(step)), _ALONE)


def _choose_folder(checkpoint: Checkpoint) -> Path:
    run = checkpoint.folder.parent.parent
    own = run / MODEL_FOLDER
    return run / f"{MODEL_FOLDER}-{checkpoint.folder.name}" if own.exists() else own
