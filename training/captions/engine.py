"""Declares the shardloom engine. `pyproject.toml` registers it by the entry point that all engines may use.

torch, which takes seconds to import, is imported only where the model is loaded.
"""

from curation.engines.declaration import EngineDeclaration, OtherEngines
from curation.engines.kinds import CAPTIONS, CaptionEngine
from training.captions.settings import ShardloomSettings
from training.captions.weights import find_folder


def make_captioner(settings: ShardloomSettings) -> CaptionEngine:
    """Loads the model. Raises `UsageError` for a folder that is missing or unfit, and for a missing device."""
    folder = find_folder(settings)
    from training.captions.captioner import ShardloomCaptioner

    return ShardloomCaptioner(settings, folder)


def check_settings(settings: ShardloomSettings, _: OtherEngines) -> list[str]:
    """Checks the folder of the model before a run. Raises `UsageError`."""
    find_folder(settings)
    return []


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
