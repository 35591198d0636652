"""Declares the caption tagger as an engine: it finds a vocabulary's entries in the alt text and reads no pixels."""

from collections.abc import Sequence

from curation.engines.declaration import EngineDeclaration
from curation.engines.kinds import TAGS, TagEngine
from curation.engines.tags.caption_settings import CaptionTagSettings
from curation.engines.tags.vocabulary import read_vocabulary


def find_names(settings: CaptionTagSettings) -> Sequence[str]:
    """Returns the names in the vocabulary. Raises `UsageError` if it cannot be used."""
    return read_vocabulary(settings.vocabulary).names


def make_caption_tags(settings: CaptionTagSettings) -> TagEngine:
    """Makes the tagger and reads its vocabulary. Raises `UsageError` if it cannot be used."""
    from curation.engines.tags.runtime.caption import CaptionTags

    return CaptionTags(settings)


ENGINE = EngineDeclaration(
    name="caption",
    kind=TAGS,
    settings=CaptionTagSettings,
    make=make_caption_tags,
    needs_pixels=False,
    ignores_batches=True,
    vocabulary=find_names,
    restricted_settings=("vocabulary",),
    is_default=True,
)
