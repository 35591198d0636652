"""Draws the new weights of a model, all at once or, for a model on `meta`, one tensor at a time.

A model that is sharded over ranks is built on `meta`, where tensors have shapes and no memory, while `Recording` notes
the operations that would have set its weights. `Recording.replay` runs them again on the CPU, in the same order and
from the same seed, so that the values are those of a model built there, bit by bit, and holds one tensor at a time.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import init
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

_OVERWRITING = frozenset(("aten::normal_", "aten::uniform_", "aten::zero_", "aten::fill_", "aten::copy_"))
"""Operations in place whose result does not depend on what the tensor held."""
_UNINITIALISED = ("aten::empty", "aten::new_empty")

_active: list["Recording"] = []


@contextlib.contextmanager
def draw_new_weights(seed: int, device: str) -> Iterator[None]:
    """Makes the tensors of the block on `device`, with random numbers from `seed`; torch's own stay as they were."""
    with torch.random.fork_rng(devices=[]), torch.device(device):
        torch.manual_seed(seed)
        for recording in _active:
            recording.add_seed(seed)
        yield


@contextlib.contextmanager
def leave_blank(blank: bool = True) -> Iterator[None]:
    """Leaves the weights of the block's modules uninitialised if `blank`, because they are read from files."""
    from transformers.initialization import no_init_weights

    if not blank:
        yield
        return
    before = [recording.records_draws for recording in _active]
    try:
        for recording in _active:  # a few modules draw numbers without torch's functions for that
            recording.records_draws = False
        with no_init_weights():
            yield
    finally:
        for recording, records in zip(_active, before, strict=True):
            recording.records_draws = records


@contextlib.contextmanager
def record_new_weights() -> Iterator["Recording"]:
    """Records how the models that the block builds on `meta` set their weights.

    On `meta`, transformers leaves out its own initialisation, and torch the truncated normal distribution, of which it
    draws numbers again until all are within bounds. Both are recorded nevertheless.
    """
    from transformers import PreTrainedModel

    def init_weights(model: Any) -> None:
        model.initialize_weights()
        model.tie_weights(recompute_mapping=False)

    def draw_truncated(tensor: Tensor, *settings: Any, **named: Any) -> Tensor:
        if tensor.is_meta:
            recording.add_draw(original_draw, (tensor, *settings), named)
            return tensor
        drawn: Tensor = original_draw(tensor, *settings, **named)
        return drawn

    recording = Recording()
    original_init, original_draw = PreTrainedModel.init_weights, init._no_grad_trunc_normal_
    PreTrainedModel.init_weights = init_weights  # type: ignore[method-assign]
    init._no_grad_trunc_normal_ = draw_truncated
    _active.append(recording)
    try:
        with recording:
            yield recording
    finally:
        _active.remove(recording)
        PreTrainedModel.init_weights = original_init  # type: ignore[method-assign]
        init._no_grad_trunc_normal_ = original_draw


@dataclass(frozen=True, slots=True)
class _Call:
    """Holds one operation on tensors of `meta`; tensors are told apart by their storages, which views share."""

    function: Any
    arguments: tuple[Any, ...]
    settings: dict[str, Any]
    result: Any
    reads: frozenset[int]
    writes: frozenset[int]
    is_random: bool


class Recording(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records the operations on `meta` that are not views, and the seeds between them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._entries: list[_Call | int] = []
        self.records_draws = True

    def add_seed(self, seed: int) -> None:
        """Notes that the random numbers begin again from `seed`."""
        self._entries.append(seed)

    def add_draw(self, function: Any, arguments: tuple[Any, ...], settings: dict[str, Any]) -> None:
        """Notes a function that draws all of its first argument anew."""
        target: Tensor = arguments[0]
        self._entries.append(
            _Call(function, arguments, settings, target, frozenset(), frozenset((_get_storage(target),)), True)
        )

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Runs an operation, and records it if it changes or makes a tensor on `meta`."""
        settings = kwargs or {}
        result = func(*args, **settings)
        inputs, outputs = _list_storages((args, settings)), _list_storages(result)
        written = outputs if func._schema.is_mutable else outputs - inputs
        if written and not func._schema.name.startswith(_UNINITIALISED):
            reads = inputs - (written if _overwrites(func, args) else frozenset())
            is_random = torch.Tag.nondeterministic_seeded in func.tags
            if self.records_draws or not is_random:
                self._entries.append(_Call(func, args, settings, result, reads, written, is_random))
        return result

    def replay(self, tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """Yields the name and the value, on the CPU, of each of the tensors that the recorded operations have set.

        `tensors` are those of the model on `meta`. A value is valid until the next one is asked for.
        """
        names: dict[int, list[str]] = {}
        for name, tensor in tensors.items():
            names.setdefault(_get_storage(tensor), []).append(name)
        plan = self._select_needed(set(names))
        last_use = {key: at for at, (_, keys) in enumerate(plan) for key in keys}
        values: dict[int, torch.UntypedStorage] = {}
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            for at, (entry, keys) in enumerate(plan):
                if isinstance(entry, int):
                    torch.manual_seed(entry)
                    continue
                _run(entry, values if keys else {})
                for key in (key for key in keys if last_use[key] == at):
                    for name in names.get(key, []):
                        yield name, _view(values[key], tensors[name])
                    del values[key]

    def _select_needed(self, needed: set[int]) -> list[tuple[_Call | int, frozenset[int]]]:
        """Selects the operations that `needed` storages depend on, each with the storages that it touches.

        Other random operations before one of them stay too, without storages, so that it gets the same numbers.
        """
        plan: list[tuple[_Call | int, frozenset[int]]] = []
        counts = False  # whether the numbers taken since the last seed matter
        for entry in reversed(self._entries):
            if isinstance(entry, int):
                plan += [(entry, frozenset())] if counts else []
                counts = False
            elif entry.writes & needed:
                plan.append((entry, entry.reads | entry.writes))
                needed = (needed - entry.writes) | entry.reads
                counts = counts or entry.is_random
            elif entry.is_random and counts:
                plan.append((entry, frozenset()))
        return plan[::-1]


def _run(call: _Call, values: dict[int, torch.UntypedStorage]) -> None:
    """Runs an operation on the CPU, on storages in `values`, in which it puts those that it makes."""

    def move(value: Any) -> Any:
        if isinstance(value, Tensor) and value.is_meta:
            key = _get_storage(value)
            if key not in values:
                values[key] = torch.UntypedStorage(value.untyped_storage().nbytes())  # type: ignore[no-untyped-call]
            return _view(values[key], value)
        return torch.device("cpu") if isinstance(value, torch.device) else value

    result = call.function(*tree_map(move, call.arguments), **tree_map(move, call.settings))
    for real, recorded in zip(tree_flatten(result)[0], tree_flatten(call.result)[0], strict=True):
        if isinstance(recorded, Tensor):
            values.setdefault(_get_storage(recorded), real.untyped_storage())


def _view(storage: torch.UntypedStorage, like: Tensor) -> Tensor:
    """Returns the tensor that lies in `storage` as `like` lies in its own."""
    empty = torch.empty(0, dtype=like.dtype)
    return empty.set_(storage, like.storage_offset(), like.size(), like.stride())


def _overwrites(function: Any, arguments: tuple[Any, ...]) -> bool:
    """Returns whether an operation sets all of its first argument's storage, whatever it held."""
    if function._schema.name not in _OVERWRITING:
        return False
    target: Tensor = arguments[0]
    return target.numel() * target.element_size() == target.untyped_storage().nbytes()


def _list_storages(values: Any) -> frozenset[int]:
    """Returns the keys of the storages of all tensors on `meta` in nested values."""
    found = (value for value in tree_flatten(values)[0] if isinstance(value, Tensor) and value.is_meta)
    return frozenset(_get_storage(tensor) for tensor in found)


def _get_storage(tensor: Tensor) -> int:
    key: int = tensor.untyped_storage()._cdata
    return key
