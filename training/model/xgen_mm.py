"""Loads the released xGen-MM (BLIP-3) weights, and checkpoints of its training code, into `ResamplerLMM`.

Two layouts hold the same tensors. On the hub: safetensors whose keys begin with `vlm.`. From LAVIS' trainer and its
converter: one torch file, a dict with `model_state_dict` or that state by itself; the trainer leaves out the frozen
tower.
The keys are those of the modules in LAVIS, branch xgen-mm, open_flamingo/src (xgenmm.py, vlm.py, helpers.py).
The weights work as trained only with `any_resolution.tile_order: reference`.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from schemas.errors import UsageError, to_one_line
from training.model.init_changes import InitChange
from training.model.lmm import ResamplerLMM
from training.model.weights import StoredTensor, fill, list_own_keys, read_tensors

_PREFIXES = (
    ("vision.model.", "vision_encoder."),
    ("connector.", "vision_tokenizer."),
    ("language.lm.", "lang_model."),
    ("language.added_embeddings.", "lang_model.model.embed_tokens.additional_embedding."),
    ("language.added_head.", "lang_model.lm_head.additional_fc."),
    ("language.head_bias", "lang_model.lm_head.bias"),
)
_TOWER = "vision_encoder."
_WRAPPERS = re.compile(r"\A(?:module\.|vlm\.)+|(?<=vision_encoder\.)vision_model\.")
_CONSTANT_BUFFERS = (".position_ids", ".inv_freq")  # saved by older transformers; they hold only constants


def map_to_released_key(key: str) -> str:
    """Returns the released name of a tensor of `ResamplerLMM`, without the hub's prefix `vlm.`."""
    for ours, theirs in _PREFIXES:
        if key.startswith(ours):
            return theirs + key.removeprefix(ours)
    raise ValueError(f"no part of the model has {key}")


def load_xgen_mm(model: ResamplerLMM, path: str | Path, changes: Sequence[InitChange] = ()) -> None:
    """Loads the model's weights from a folder as on the hub, or from a file of LAVIS' trainer.

    A trainer's checkpoint has no frozen tower: then the model keeps its own, if that was loaded. `changes` are as in
    `fill`.
    Raises `UsageError` when another tensor is missing, and for any unknown tensor or other shape.
    """
    path = Path(path)
    ours = {map_to_released_key(key): key for key in list_own_keys(model)}
    tensors: Iterator[tuple[str, Tensor | StoredTensor]]
    tensors = read_tensors(path) if path.is_dir() else _read_checkpoint(path, _select_tower_tensors(model, ours))
    named = ((_WRAPPERS.sub("", key), tensor) for key, tensor in tensors if not key.endswith(_CONSTANT_BUFFERS))
    fill(model, ((ours.get(key, key), tensor) for key, tensor in named), str(path), changes)


def _select_tower_tensors(model: ResamplerLMM, ours: dict[str, str]) -> dict[str, Tensor]:
    if model.options.vision is None or model.options.vision.pretrained is None:
        return {}
    state = model.state_dict()
    return {theirs: state[key] for theirs, key in ours.items() if theirs.startswith(_TOWER)}


def _read_checkpoint(path: Path, tower: dict[str, Tensor]) -> Iterator[tuple[str, Tensor | StoredTensor]]:
    """Yields the keys and tensors of a file of LAVIS' trainer, with those of `tower` if the file has no tower."""
    try:
        content: Any = torch.load(path, map_location="cpu", mmap=True, weights_only=True)  # runs no code from the file
        state = dict(content.get("model_state_dict", content))
    except Exception as error:  # noqa: BLE001  torch raises any error for damaged files
        what = to_one_line(error, with_type=True)
        raise UsageError(
            f"xgen-mm: cannot read {path}: {what}; pass a folder of safetensors, or a checkpoint"
        ) from None
    if not any(_TOWER in key for key in state):
        state |= tower
    for key, tensor in state.items():
        if not isinstance(tensor, Tensor):
            raise UsageError(f"xgen-mm: {key} of {path} is not a tensor; pass a folder of safetensors, or a checkpoint")
        yield key, tensor
