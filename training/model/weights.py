"""Loads tensors from files into a model, and checks that none is missing, unknown or of another shape."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from schemas.errors import UsageError, to_one_line
from training.model.init_changes import KIND, POSITIONS, VISION, InitChange
from training.model.towers.positions import interpolate_positions

WEIGHTS_FILE, INDEX_FILE = "model.safetensors", "model.safetensors.index.json"
_CONNECTOR, _TOWER = "connector.", "vision."


def fill(
    model: nn.Module, tensors: Iterable[tuple[str, Tensor]], where: str, changes: Sequence[InitChange] = ()
) -> None:
    """Copies each tensor into the model by its key; `where` names their source in errors.

    Of a tensor that `changes` name, the first rows that both have are copied, and the model keeps its others;
    positions are interpolated. With `KIND` the model also keeps those of the connector's tensors that are absent, and
    with `VISION` those of the tower and the connector. Raises `UsageError` unless all other tensors have exactly the
    model's keys and shapes.
    """
    state = model.state_dict()
    absent = list_own_keys(model)
    for key, tensor in tensors:
        if key not in absent:
            raise UsageError(f"model: {where} has {key}, which this model does not have; pass fitting weights")
        if key in changes and tensor.shape[1:] == state[key].shape[1:]:
            if key == POSITIONS:
                state[key].copy_(interpolate_positions(tensor, math.isqrt(len(state[key]))))
            rows = 0 if key == POSITIONS else min(len(tensor), len(state[key]))
            state[key][:rows].copy_(tensor[:rows])
            absent.remove(key)
            continue
        if tensor.shape != state[key].shape:
            shapes = f"{list(tensor.shape)}, here {list(state[key].shape)}"
            raise UsageError(f"model: {key} is {shapes} in {where}; pass fitting weights")
        state[key].copy_(tensor)
        absent.remove(key)
    new = ((KIND, (_CONNECTOR,)), (VISION, (_CONNECTOR, _TOWER)))
    if kept := tuple(part for change, parts in new if change in changes for part in parts):
        absent = {key for key in absent if not key.startswith(kept)}
    if absent:
        raise UsageError(
            f"model: {where} lacks {len(absent)} tensors, {min(absent)} for example; pass complete weights"
        )


def list_own_keys(model: nn.Module) -> set[str]:
    """Returns the keys of the model's state, with each tied tensor once."""
    tied = dict(model.named_parameters(remove_duplicate=False)).keys() - dict(model.named_parameters()).keys()
    return model.state_dict().keys() - tied


def read_tensors(folder: Path, shapes_only: bool = False) -> Iterator[tuple[str, Tensor]]:
    """Yields the keys and tensors of all safetensors files of a folder, one at a time.

    With `shapes_only` the tensors are on `meta`: they have shapes and no contents. Raises `UsageError` for a damaged
    file.
    """
    for file in _list_weight_files(folder):
        try:
            with safe_open(file, framework="pt") as opened:
                for key in opened.keys():  # noqa: SIM118  it is not a dict
                    if shapes_only:
                        yield key, torch.empty(opened.get_slice(key).get_shape(), device="meta")
                    else:
                        yield key, opened.get_tensor(key)
        except (OSError, SafetensorError) as error:
            what = to_one_line(error)
            raise UsageError(f"model: cannot read {file}: {what}; pass a folder of complete weights") from None


def _list_weight_files(folder: Path) -> list[Path]:
    try:
        if (folder / INDEX_FILE).is_file():
            names = json.loads((folder / INDEX_FILE).read_text("utf-8"))["weight_map"].values()
            return [folder / Path(name).name for name in sorted(set(names))]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise UsageError(f"model: {folder / INDEX_FILE} is not a weights index: {what}; pass another folder") from None
    return [folder / WEIGHTS_FILE]
