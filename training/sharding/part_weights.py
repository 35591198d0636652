"""Reads the weights of pretrained parts tensor by tensor, so that each rank of a sharded model reads its own rows."""

from collections.abc import Iterator
from typing import Literal

from schemas.errors import UsageError
from training.model.lmm import ResamplerLMM
from training.model.part_configs import find_part_folder
from training.model.weights import StoredTensor, copy_rows, list_own_keys, read_tensors

_Part = Literal["vision", "language"]

_PATTERNS = ("config.json", "*.safetensors", "*.safetensors.index.json")
_PREFIXES: dict[_Part, str] = {"vision": "vision.model.", "language": "language.lm."}
_UNUSED = tuple(
    f"vision.model.{name}" for name in ("text_model.", "logit_", "visual_projection.", "text_projection.")
)  # of a whole SigLIP or CLIP
_CONSTANT_BUFFERS = (".position_ids",)  # saved by older transformers; they hold only constants
_TOWER_PREFIX = "vision_model."  # of such a file, which transformers takes off as it loads the tower


def can_read_parts(model: ResamplerLMM) -> bool:
    """Returns whether the files of all pretrained parts hold the model's own tensors, under its names and shapes.

    transformers also loads files of older or other layouts, but only as a whole.
    """
    state = model.state_dict()
    wanted = {
        key: state[key].shape
        for key in list_own_keys(model)
        if any(key.startswith(_PREFIXES[name]) for name in _list_pretrained(model))
    }
    try:
        found = {key: tensor.shape for key, tensor in _read_parts(model)}
    except UsageError:  # transformers' own loading says more
        return False
    known = tuple(key for key in found if key.startswith(_UNUSED) or key.endswith(_CONSTANT_BUFFERS))
    unknown = found.keys() - state.keys() - set(known)
    return not unknown and {key: found.get(key) for key in wanted} == wanted


def load_parts(model: ResamplerLMM, target: ResamplerLMM) -> None:
    """Loads the weights of the pretrained parts that the options of `model` name into `target`, of the same shapes.

    `can_read_parts` must be true of `model`.
    """
    state, own = target.state_dict(), list_own_keys(target)
    for key, tensor in _read_parts(model):
        if key in own:
            copy_rows(state[key], tensor)


def _read_parts(model: ResamplerLMM) -> Iterator[tuple[str, StoredTensor]]:
    """Yields the tensors in the files of pretrained parts under the keys that they have in the model, if it has any."""
    for name in _list_pretrained(model):
        part = getattr(model.options, name)
        _, folder = find_part_folder(part, name, model.options.allow_download, _PATTERNS)
        for key, tensor in read_tensors(folder):
            yield _PREFIXES[name] + (key.removeprefix(_TOWER_PREFIX) if name == "vision" else key), tensor


def _list_pretrained(model: ResamplerLMM) -> list[_Part]:
    parts: tuple[_Part, ...] = ("vision", "language")
    return [name for name in parts if getattr(getattr(model.options, name), "pretrained", None) is not None]
