"""Gives memory and values to the tensors of a model.

Tensors from files are checked: none may be missing, unknown or of another shape. A model may be sharded, or on `meta`,
where tensors have shapes and no memory.
"""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from schemas.errors import UsageError, to_one_line
from training.model.init_changes import KIND, POSITIONS, VISION, InitChange
from training.model.towers.positions import interpolate_positions

WEIGHTS_FILE, INDEX_FILE = "model.safetensors", "model.safetensors.index.json"
_CONNECTOR, _TOWER = "connector.", "vision."


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in a safetensors file, of which rows are read when they are asked for."""

    file: Path
    key: str
    shape: torch.Size

    def __getitem__(self, rows: slice) -> Tensor:
        """Reads these rows; a tensor without dimensions is one row. Raises `UsageError` for a damaged file."""
        with _open(self.file) as opened:  # anew each time, because a file that stays open stays mapped as far as read
            found: Tensor = opened.get_slice(self.key)[rows] if self.shape else opened.get_tensor(self.key)
        return found


def fill(
    model: nn.Module,
    tensors: Iterable[tuple[str, Tensor | StoredTensor]],
    where: str,
    changes: Sequence[InitChange] = (),
) -> None:
    """Copies each tensor into the model by its key; `where` names their source in errors.

    Of a sharded model, each rank copies its own rows. On `meta` only keys and shapes are checked.

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
        may_differ = key in changes and tensor.shape[1:] == state[key].shape[1:]
        if tensor.shape != state[key].shape and not may_differ:
            shapes = f"{list(tensor.shape)}, here {list(state[key].shape)}"
            raise UsageError(f"model: {key} is {shapes} in {where}; pass fitting weights")
        interpolated = key in changes and key == POSITIONS
        copy_rows(state[key], _resize_positions(tensor, len(state[key])) if interpolated else tensor)
        absent.remove(key)
    new = ((KIND, (_CONNECTOR,)), (VISION, (_CONNECTOR, _TOWER)))
    if kept := tuple(part for change, parts in new if change in changes for part in parts):
        absent = {key for key in absent if not key.startswith(kept)}
    if absent:
        raise UsageError(
            f"model: {where} lacks {len(absent)} tensors, {min(absent)} for example; pass complete weights"
        )


def _resize_positions(table: Tensor | StoredTensor, cells: int) -> Tensor:
    return interpolate_positions(table[:], math.isqrt(cells))


def copy_rows(target: Tensor, source: Tensor | StoredTensor) -> None:
    """Copies the first rows that both have; of a sharded target, each rank copies those of its shard.

    A target on `meta` takes nothing.
    """
    start, local = 0, target
    if isinstance(target, DTensor):  # FSDP cuts the rows as `torch.chunk` does
        local = target.to_local()
        start = target.device_mesh.get_local_rank() * -(-len(target) // target.device_mesh.size())
    if local.is_meta:
        return
    if not local.ndim:
        local.copy_(source if isinstance(source, Tensor) else source[:])
    elif (stop := min(start + len(local), source.shape[0])) > start:
        local[: stop - start].copy_(source[start:stop])


def list_own_keys(model: nn.Module) -> set[str]:
    """Returns the keys of the model's state, with each tied tensor once."""
    tied = dict(model.named_parameters(remove_duplicate=False)).keys() - dict(model.named_parameters()).keys()
    return model.state_dict().keys() - tied


def move_to_device(module: nn.Module, device: torch.device) -> None:
    """Moves a module; tensors on `meta` become uninitialised ones of the same shapes, which the caller must fill.

    Tied parameters stay tied, which they do not with `nn.Module.to_empty`.
    """
    made: dict[int, nn.Parameter] = {}
    for inner in list(module.modules()):
        for name, parameter in list(inner.named_parameters(recurse=False, remove_duplicate=False)):
            if parameter.is_meta:
                if id(parameter) not in made:
                    made[id(parameter)] = _allocate(parameter, device)
                setattr(inner, name, made[id(parameter)])
        for name, buffer in list(inner.named_buffers(recurse=False, remove_duplicate=False)):
            if buffer.is_meta:
                setattr(inner, name, torch.empty_like(buffer, device=device))
    module.to(device)  # FSDP takes new parameters over here


def is_on_meta(module: nn.Module) -> bool:
    """Returns whether a module has shapes alone."""
    return any(parameter.is_meta for parameter in module.parameters())


def get_plain_name(name: str) -> str:
    """Returns the name that a tensor had before its modules were wrapped."""
    return name.removeprefix("module.").replace("_checkpoint_wrapped_module.", "")


def list_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Returns the parameters and buffers by the names that they had before wrapping, tied ones under each name."""
    named = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    return {get_plain_name(name): tensor for name, tensor in named}


def read_tensors(folder: Path) -> Iterator[tuple[str, StoredTensor]]:
    """Yields the keys and tensors of all safetensors files of a folder. Raises `UsageError` for a damaged file."""
    for file in _list_weight_files(folder):
        with _open(file) as opened:
            shapes = {key: torch.Size(opened.get_slice(key).get_shape()) for key in opened.keys()}  # noqa: SIM118
        for key, shape in shapes.items():
            yield key, StoredTensor(file, key, shape)


@contextmanager
def _open(file: Path) -> Iterator[Any]:
    """Opens a safetensors file; an error with it becomes one line."""
    try:
        with safe_open(file, framework="pt") as opened:
            yield opened
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


def _allocate(parameter: nn.Parameter, device: torch.device) -> nn.Parameter:
    return nn.Parameter(torch.empty_like(parameter, device=device), requires_grad=parameter.requires_grad)
