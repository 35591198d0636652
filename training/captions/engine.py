"""Declares the shardloom engine. `pyproject.toml` registers it by the entry point that all engines may use."""

from pathlib import Path

from curation.engines.captions.local_model import declare_local_captioner
from curation.engines.kinds import CaptionEngine
from training.captions.settings import ShardloomSettings
from training.captions.weights import find_folder


def load_captioner(settings: ShardloomSettings, folder: Path) -> CaptionEngine:
    """Loads the model. Raises `UsageError` for a folder that is unfit, and for a missing device."""
    from training.captions.captioner import ShardloomCaptioner

    return ShardloomCaptioner(settings, folder)


ENGINE = declare_local_captioner(
    "shardloom",
    ShardloomSettings,
    check=find_folder,
    find_folder=find_folder,
    load=load_captioner,
    restricted_settings=("weights",),
)
