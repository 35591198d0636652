"""Tensors from files into a model, each to its place: none may be missing, none left over, none of another shape."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from schemas.errors import UsageError, one_line

WEIGHTS_FILE, INDEX_FILE = "model.safetensors", "model.safetensors.index.json"


def fill(model: nn.Module, tensors: Iterable[tuple[str, Tensor]], where: str) -> None:
    """Takes each tensor by its key; all of the model's keys have to come, and no others."""
    state = model.state_dict()
    absent = own_keys(model)
    for key, tensor in tensors:
        if key not in absent:
            raise UsageError(f"model: {where} has {key}, which is none of this model's tensors; pass fitting weights")
        if tensor.shape != state[key].shape:
            shapes = f"{list(tensor.shape)}, here {list(state[key].shape)}"
            raise UsageError(f"model: {key} is {shapes} in {where}; pass fitting weights")
        state[key].copy_(tensor)
        absent.remove(key)
    if absent:
        raise UsageError(f"model: {where} lacks {len(absent)} tensors, {min(absent)} for one; pass whole weights")


def own_keys(model: nn.Module) -> set[str]:
    """The keys of its state, each tied tensor once."""
    tied = dict(model.named_parameters(remove_duplicate=False)).keys() - dict(model.named_parameters()).keys()
    return model.state_dict().keys() - tied


def tensors_of(folder: Path, bare: bool = False) -> Iterator[tuple[str, Tensor]]:
    """Keys and tensors of all safetensors files of a folder, one tensor at a time; `bare`: without their contents."""
    for file in _weight_files(folder):
        try:
            with safe_open(file, framework="pt") as opened:
                for key in opened.keys():  # noqa: SIM118  no dict
                    if bare:
                        yield key, torch.empty(opened.get_slice(key).get_shape(), device="meta")
                    else:
                        yield key, opened.get_tensor(key)
        except (OSError, SafetensorError) as error:
            what = one_line(error)
            raise UsageError(f"model: cannot read {file}: {what}; pass a folder of whole weights") from None


def _weight_files(folder: Path) -> list[Path]:
    try:
        if (folder / INDEX_FILE).is_file():
            names = json.loads((folder / INDEX_FILE).read_text("utf-8"))["weight_map"].values()
            return [folder / Path(name).name for name in sorted(set(names))]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise UsageError(f"model: {folder / INDEX_FILE} is no index: {what}; pass another folder") from None
    return [folder / WEIGHTS_FILE]
