"""Defines the options of `explain`."""

from pydantic import Field

from schemas.output_set.options import Options


class ExplainOptions(Options):
    """Says where the inputs of a set are now, as far as they are not where its manifests name them."""

    sets: dict[str, str] = Field(
        {}, description="present folders by name: annotations, captions, source, or a mixture's name of a source"
    )
    images: list[str] = Field([], description="globs of the image shards, or [OLD=]NEW folders of them")
