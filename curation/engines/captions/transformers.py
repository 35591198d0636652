"""Declares the transformers engine: a model of the Hugging Face library writes captions in the worker itself."""

from pathlib import Path

from curation.engines.captions.local_model import declare_local_captioner
from curation.engines.captions.transformers_settings import TransformersSettings
from curation.engines.captions.transformers_weights import check_weights, resolve_weights_folder
from curation.engines.kinds import CaptionEngine


def load_captioner(settings: TransformersSettings, folder: Path) -> CaptionEngine:
    """Loads the model. Raises `UsageError` for weights that are unfit, and for a missing device."""
    from curation.engines.captions.runtime.transformers import TransformersCaptioner

    return TransformersCaptioner(settings, folder)


ENGINE = declare_local_captioner(
    "transformers",
    TransformersSettings,
    check=check_weights,
    find_folder=resolve_weights_folder,
    load=load_captioner,
    fetch=resolve_weights_folder,
    restricted_settings=("weights", "allow_download"),
)
