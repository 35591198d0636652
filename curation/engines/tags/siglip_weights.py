"""Finds, checks and loads a folder of SigLIP weights. Shardloom ships no weights.

Checking does not import torch, so an invalid recipe is reported quickly, before any work starts.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.engines.weights import WeightsFormat, hash_files

if TYPE_CHECKING:
    from curation.engines.tags.siglip_settings import SiglipTagSettings

_CONFIG_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json")
_IMAGE_PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")  # one of them is enough

SIGLIP = WeightsFormat(
    engine="siglip",
    required_files=f"*.safetensors, {', '.join(_CONFIG_FILES)}, {' or '.join(_IMAGE_PROCESSOR_FILES)}",
    download_patterns=("*.json", "*.safetensors"),
)


def check_weights(settings: "SiglipTagSettings") -> None:
    """Raises `UsageError` for missing or unusable weights. Fetches nothing, so a hub name is accepted unchecked."""
    folder = _find_local_folder(settings)
    if folder is not None:
        _check_files(folder)


def resolve_weights_folder(settings: "SiglipTagSettings") -> Path:
    """Returns the folder of the weights, and fetches it from the hub if needed. Raises `UsageError`."""
    folder = _find_local_folder(settings) or SIGLIP.fetch(str(settings.weights))
    _check_files(folder)
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
        raise SIGLIP.unfit_error(f"Shardloom ships no weights; pass weights=FOLDER with {SIGLIP.required_files}")
    return SIGLIP.find_local_folder(settings.weights, settings.allow_download)


def _check_files(folder: Path) -> None:
    absent = [name for name in _CONFIG_FILES if not (folder / name).is_file()]
    if not any((folder / name).is_file() for name in _IMAGE_PROCESSOR_FILES):
        absent.append(_IMAGE_PROCESSOR_FILES[0])
    if not any(folder.glob("[!.]*.safetensors")):
        absent.append("*.safetensors")
    if absent:
        raise SIGLIP.unfit_error(
            f"{folder} lacks {' and '.join(absent)}; pass weights=FOLDER with {SIGLIP.required_files}"
        )
    model_type = SIGLIP.read_model_type(folder)
    if model_type != "siglip":  # also the type of SigLIP 2, except its NaFlex models
        raise SIGLIP.unfit_error(f"{folder} holds a model of type {model_type!r}; pass one of type 'siglip'")
