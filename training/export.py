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
from training.checkpoint_model import build_initial_model, load_checkpoint_model, load_model, read_checkpoint_recipe
from training.exports.formats import ExportFormat, check_format
from training.exports.hf.write import write_hf
from training.exports.llava import write_llava
from training.exports.xgen_mm import write_xgen_mm
from training.model.folders.new import check_is_new
from training.model.pretrained import CONFIG_FILE, build_blank_model, read_options, save_pretrained
from training.model.tokens import load_tokenizer
from training.parallel import Ranks
from training.set_up import CHECKPOINTS_FOLDER, MODEL_FOLDER

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

_WRITERS = {"hf": write_hf, "llava": write_llava, "xgen-mm": write_xgen_mm}
_ALONE = Ranks()


def export_checkpoint(
    run: str,
    step: int | None = None,
    dtype: Literal["fp32", "bf16"] = "fp32",
    output: str | None = None,
    kind: ExportFormat = "shardloom",
) -> Path:
    """Exports the model of a checkpoint and returns its folder, which `load_pretrained` reads if `kind` is shardloom.

    `run` is a run's folder, one checkpoint's, or that of an export of kind shardloom. The default `step` is the newest
    intact checkpoint's, the default `output` the folder in which the run itself exports its model, or, where it has
    done so, one with the step in its name; another kind's has its name, and that of an export has its dtype. Raises
    `UsageError` when there is no such checkpoint, the output is not empty, or the format can't hold the model.
    """
    path = Path(run)
    if output is not None and "://" in output:
        raise UsageError(f"export: --output {output}: a model is written to a folder on a disk, not to a URL")
    if step is None and not is_checkpoint(path) and (path / CONFIG_FILE).is_file():
        added = dtype if kind == "shardloom" else kind
        target = path.resolve().parent / f"{path.resolve().name}-{added}" if output is None else Path(output)
        check_is_new(target)
        options = read_options(path)
        check_format(build_blank_model(options, load_tokenizer(options), "meta"), kind)
        loaded = load_model(path)
    else:
        checkpoint = _find_checkpoint(path, step)
        target = Path(output) if output is not None else _choose_folder(checkpoint, kind)
        check_is_new(target)
        if kind != "shardloom":
            check_format(build_initial_model(read_checkpoint_recipe(checkpoint), "meta"), kind)
        LOG.info(f"export: loading the checkpoint after step {checkpoint.state.step:,}")
        loaded = load_checkpoint_model(checkpoint)
    state = {
        name: tensor.to(DTYPES[dtype]) if tensor.is_floating_point() else tensor
        for name, tensor in loaded.model.state_dict().items()
    }
    if kind == "shardloom":
        save_pretrained(loaded.model, loaded.tokenizer, target, state, loaded.prompts)
    else:
        _WRITERS[kind](loaded.model, loaded.tokenizer, loaded.prompts, state, target)
    return target


def _find_checkpoint(path: Path, step: int | None) -> Checkpoint:
    if is_checkpoint(path):
        folder, names = path.resolve().parent, [path.resolve().name]
    else:
        folder = path / CHECKPOINTS_FOLDER
        names = list_checkpoints(folder)
    if not names:
        advice = (
            f"{path / MODEL_FOLDER}, its export" if (path / MODEL_FOLDER / CONFIG_FILE).is_file() else "a run's folder"
        )
        raise UsageError(f"export: {path} is neither a run with checkpoints nor a checkpoint; pass {advice}")
    if step is not None and format_checkpoint_name(step) not in names:
        raise UsageError(f"export: {path} has no checkpoint of step {step:,}, only {', '.join(reversed(names))}")
    if step is None and len(names) > 1 and (latest := find_latest(folder, _ALONE)) is not None:
        return latest
    return open_checkpoint(folder / (names[0] if step is None else format_checkpoint_name(step)), _ALONE)


def _choose_folder(checkpoint: Checkpoint, kind: ExportFormat) -> Path:
    run = checkpoint.folder.parent.parent
    if kind != "shardloom":
        return run / f"{kind}-{checkpoint.folder.name}"
    own = run / MODEL_FOLDER
    return run / f"{MODEL_FOLDER}-{checkpoint.folder.name}" if own.exists() else own
