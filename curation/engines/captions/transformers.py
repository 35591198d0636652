"""Declares the transformers engine: a model of the Hugging Face library writes captions in the worker itself."""

from curation.engines.captions.transformers_settings import TransformersSettings
from curation.engines.captions.transformers_weights import check_weights, resolve_weights_folder
from curation.engines.declaration import EngineDeclaration, OtherEngines
from curation.engines.kinds import CAPTIONS, CaptionEngine


def make_captioner(settings: TransformersSettings) -> CaptionEngine:
    """Loads the model. Raises `UsageError` for weights that are missing or unfit, and for a missing device."""
    folder = resolve_weights_folder(settings)
    from curation.engines.captions.runtime.transformers import TransformersCaptioner

    return TransformersCaptioner(settings, folder)


def check_settings(settings: TransformersSettings, _: OtherEngines) -> list[str]:
    """Checks the weights before a run. Raises `UsageError`."""
    check_weights(settings)
    return []


ENGINE = EngineDeclaration(
    name="transformers",
    kind=CAPTIONS,
    settings=TransformersSettings,
    make=make_captioner,
    extra="train",
    needs_pixels=lambda settings: settings.send_image,
    check=check_settings,
    fetch=resolve_weights_folder,
    restricted_settings=("weights", "allow_download"),
)
