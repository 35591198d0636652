"""Finds and checks a folder of a model that answers prompts about images, or of a language model. Needs no torch."""

from pathlib import Path

from curation.engines.captions.transformers_settings import TransformersSettings
from curation.engines.weights import WeightsFormat, hash_files

_CONFIG_FILES = ("config.json", "tokenizer_config.json")
_IMAGE_PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")  # one of them is enough
_CONFIGURATION = ("*.json", "*.jinja", "*.model", "*.txt")  # whatever says how the weights are used

TRANSFORMERS = WeightsFormat(
    engine="transformers",
    required_files=f"*.safetensors, {', '.join(_CONFIG_FILES)}, {' or '.join(_IMAGE_PROCESSOR_FILES)} for images",
    download_patterns=(*_CONFIGURATION, "*.safetensors"),
)


def check_weights(settings: TransformersSettings) -> None:
    """Raises `UsageError` for missing or damaged weights. Does not check a name on the hub, and fetches nothing."""
    if (folder := _find_local_folder(settings)) is not None:
        check_folder(folder, settings.send_image)


def resolve_weights_folder(settings: TransformersSettings) -> Path:
    """Returns the folder of the weights, and fetches it from the hub if needed. Raises `UsageError`."""
    folder = _find_local_folder(settings) or TRANSFORMERS.fetch(str(settings.weights))
    check_folder(folder, settings.send_image)
    return folder


def check_folder(folder: Path, reads_images: bool) -> None:
    """Raises `UsageError` if the folder lacks a file, or has one that is damaged."""
    absent = [name for name in _CONFIG_FILES if not (folder / name).is_file()]
    if reads_images and not any((folder / name).is_file() for name in _IMAGE_PROCESSOR_FILES):
        absent.append(_IMAGE_PROCESSOR_FILES[0])
    if absent:
        raise TRANSFORMERS.unfit_error(f"{folder} lacks {' and '.join(absent)}; {TRANSFORMERS.advice}")
    TRANSFORMERS.read_model_type(folder)
    TRANSFORMERS.check_weight_files(folder)


def hash_configuration(folder: Path) -> str:
    """Returns the SHA-256 of the files that say how the weights are used: tokenizer, chat template, image sizes."""
    names = {path.name for pattern in _CONFIGURATION for path in folder.glob(f"[!.]{pattern}")}
    return hash_files(folder, sorted(names))


def _find_local_folder(settings: TransformersSettings) -> Path | None:
    if settings.weights is None:
        raise TRANSFORMERS.unfit_error(f"Shardloom ships no weights; {TRANSFORMERS.advice}")
    return TRANSFORMERS.find_local_folder(settings.weights, settings.allow_download)
