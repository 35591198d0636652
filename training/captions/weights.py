"""Finds and checks the folder of an exported model. Needs no torch, so a wrong recipe is reported before any work."""

from pathlib import Path

from curation.engines.weights import WeightsFormat
from training.captions.settings import ShardloomSettings
from training.model.config import MODEL_TYPE

CONFIGURATION_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json")

EXPORT = WeightsFormat(
    engine="shardloom",
    required_files=f"*.safetensors, {', '.join(CONFIGURATION_FILES)}",
    download_patterns=(),
    source="`shardloom train` and `shardloom export` write one",
)


def find_folder(settings: ShardloomSettings) -> Path:
    """Returns the folder of the model. Raises `UsageError` if it is missing, or not a whole export."""
    if settings.weights is None:
        raise EXPORT.unfit_error(f"no model: {EXPORT.advice}")
    folder = Path(settings.weights)
    if not folder.is_dir():
        raise EXPORT.unfit_error(f"no folder {folder}; {EXPORT.advice}")
    if absent := [name for name in CONFIGURATION_FILES if not (folder / name).is_file()]:
        raise EXPORT.unfit_error(f"{folder} lacks {' and '.join(absent)}; {EXPORT.advice}")
    if (kind := EXPORT.read_model_type(folder)) != MODEL_TYPE:
        raise EXPORT.unfit_error(f"{folder} holds a model of type {kind!r}; {EXPORT.advice}")
    EXPORT.check_weight_files(folder)
    return folder
