"""Defines the recipe that mixes sets of training shards."""

from typing import ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from curation.mixture.image_tokens import MULTIMODAL_TOKENS, ImageTokens
from curation.mixture.options import MixtureOptions
from pipelines.recipes.base import Recipe


class MixRecipe(MixtureOptions, Recipe):
    """Describes a mixture of sets of training shards. Names are sorted: the order of a file's keys does not matter."""

    kind: ClassVar[str] = "mix"
    format: Literal["webdataset", "parquet"] = "webdataset"
    samples_per_shard: int = Field(10_000, gt=0, le=1_000_000, description="samples in each shard but the last")
    materialise: bool = Field(
        False,
        exclude_if=lambda materialise: not materialise,
        description="copy the images of sets by reference; default: the mixture refers to the same image shards",
    )

    @field_validator("image_tokens")
    @classmethod
    def _check_has_rule(cls, rule: ImageTokens | None, info: ValidationInfo) -> ImageTokens | None:
        if rule is None and info.data.get("unit") == MULTIMODAL_TOKENS:
            raise ValueError("give the tokens of an image, such as 128, since the unit is multimodal_tokens")
        return rule
