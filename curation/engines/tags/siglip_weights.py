"""Finds, checks and loads a folder of SigLIP weights. Shardloom ships no weights.

Checking does not import torch, so an invalid recipe is reported quickly, before any work starts.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.engines.weights import WeightsFormat, hash_files

if TYPE_CHECKING:
    from curation.engines.tags.siglip_settings import SiglipTagSettings

_CONFIG_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json")
_IMAGE_PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")  # one of them is enough

_TEXT_DEFAULTS = {"vocab_size": 32000, "max_position_embeddings": 64}  # of transformers, where a config.json has none

SIGLIP = WeightsFormat(
    engine="siglip",
    required_files=f"*.safetensors, {', '.join(_CONFIG_FILES)}, {' or '.join(_IMAGE_PROCESSOR_FILES)}",
    download_patterns=("*.json", "*.safetensors"),
    source="`shardloom engines --fetch siglip` gets one",
)


def check_weights(settings: "SiglipTagSettings") -> Path | None:
    """Returns the folder of the weights, or None for a name on the hub, which is not checked.

    Raises `UsageError` for missing or unusable weights. Fetches nothing.
    """
    folder = _find_local_folder(settings)
    if folder is not None:
        check_folder(folder)
    return folder


def check_prompts(folder: Path, names: Sequence[str], prompts: Sequence[str]) -> None:
    """Raises `UsageError` for a name whose prompt has more tokens than the text model reads."""
    tokenizer = SIGLIP.load_tokenizer(folder)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    check_prompt_lengths(names, [len(tokenizer.encode(prompt).ids) for prompt in prompts], _read_max_tokens(folder))


def check_prompt_lengths(names: Sequence[str], lengths: Sequence[int], limit: int) -> None:
    """Raises `UsageError` for the name with the longest prompt, if that has more tokens than the limit."""
    longest = max(range(len(names)), key=lambda n: lengths[n])
    if lengths[longest] > limit:
        raise SIGLIP.unfit_error(
            f"tag {names[longest]!r} makes a prompt of {lengths[longest]} tokens, {limit} at most; "
            "shorten it or the prompt"
        )


def resolve_weights_folder(settings: "SiglipTagSettings") -> Path:
    """Returns the folder of the weights, and fetches it from the hub if needed. Raises `UsageError`."""
    folder = _find_local_folder(settings) or SIGLIP.fetch(str(settings.weights))
    check_folder(folder)
    return folder


def hash_configuration(folder: Path) -> str:
    """Returns the SHA-256 of the files that say how the weights are used: image sizes, vocabulary."""
    return hash_files(folder, (*_CONFIG_FILES, *_IMAGE_PROCESSOR_FILES))


def load_model(folder: Path, threads: int, device: str) -> Any:
    """Returns the model in float32 on this device, and sets the number of CPU threads. Raises `UsageError`."""
    import torch
    from transformers import SiglipModel

    torch.set_num_threads(threads)
    return SIGLIP.load_model(folder, SiglipModel).to(device).eval()


def _find_local_folder(settings: "SiglipTagSettings") -> Path | None:
    if settings.weights is None:
        raise SIGLIP.unfit_error(f"Shardloom ships no weights; {SIGLIP.advice}")
    return SIGLIP.find_local_folder(settings.weights, settings.allow_download)


def check_folder(folder: Path) -> None:
    """Raises `UsageError` if the folder lacks a file, or has one that is damaged or does not fit. Needs no torch."""
    absent = [name for name in _CONFIG_FILES if not (folder / name).is_file()]
    if not any((folder / name).is_file() for name in _IMAGE_PROCESSOR_FILES):
        absent.append(_IMAGE_PROCESSOR_FILES[0])
    if not any(folder.glob("[!.]*.safetensors")):
        absent.append("*.safetensors")
    if absent:
        raise SIGLIP.unfit_error(f"{folder} lacks {' and '.join(absent)}; {SIGLIP.advice}")
    model_type = SIGLIP.read_model_type(folder)
    if model_type != "siglip":  # also the type of SigLIP 2, except its NaFlex models
        raise SIGLIP.unfit_error(f"{folder} holds a model of type {model_type!r}; pass one of type 'siglip'")
    SIGLIP.check_weight_files(folder)
    _check_tokenizer_file(folder)
    SIGLIP.read_json(folder, next(name for name in _IMAGE_PROCESSOR_FILES if (folder / name).is_file()))


def _check_tokenizer_file(folder: Path) -> None:
    """Raises for a tokenizer that has more tokens than the model, or no token to pad with."""
    tokens = SIGLIP.load_tokenizer(folder).get_vocab_size()
    special = {
        name: SIGLIP.read_json(folder, name).get("pad_token")
        for name in ("tokenizer_config.json", "special_tokens_map.json")
        if (folder / name).is_file()
    }
    if tokens > _read_text_config(folder, "vocab_size") or not any(special.values()):
        raise SIGLIP.unfit_error(f"the tokenizer in {folder} does not fit the model or cannot pad; pass another folder")


def _read_max_tokens(folder: Path) -> int:
    return _read_text_config(folder, "max_position_embeddings")


def _read_text_config(folder: Path, name: str) -> int:
    text = SIGLIP.read_json(folder, "config.json").get("text_config")
    value = text.get(name) if isinstance(text, dict) else None
    return value if isinstance(value, int) else _TEXT_DEFAULTS[name]
