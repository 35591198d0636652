"""Declares the shardloom engine. `pyproject.toml` registers it by the entry point that all engines may use.

torch, which takes seconds to import, is imported only where the model is loaded.
"""

from pathlib import Path

from curation.engines.declaration import EngineDeclaration, OtherEngines
from curation.engines.kinds import CAPTIONS, CaptionEngine
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


def make_captioner(settings: ShardloomSettings) -> CaptionEngine:
    """Loads the model. Raises `UsageError` for a folder that is missing or unfit, and for a missing device."""
    folder = find_folder(settings)
    from training.captions.captioner import ShardloomCaptioner

    return ShardloomCaptioner(settings, folder)


def check_settings(settings: ShardloomSettings, _: OtherEngines) -> list[str]:
    """Checks the folder of the model before a run. Raises `UsageError`."""
    find_folder(settings)
    return []


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


ENGINE = EngineDeclaration(
    name="shardloom",
    kind=CAPTIONS,
    settings=ShardloomSettings,
    make=make_captioner,
    extra="train",
    needs_pixels=lambda settings: settings.send_image,
    check=check_settings,
    restricted_settings=("weights",),
)
