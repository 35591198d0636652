"""Defines the recipe that joins images and captions into training shards."""

from typing import ClassVar, Literal

from pydantic import Field, NonNegativeInt, ValidationInfo, field_validator

from pipelines.recipes.base import TOKENIZER, Recipe
from pipelines.recipes.rows import FilteredRows
from schemas.output_set.options import Globs, PathOrName, RecipePath


class ShardRecipe(FilteredRows, Recipe):
    """Describes training shards made from image shards and a caption set."""

    kind: ClassVar[str] = "shard"
    images: Globs = Field(min_length=1, description="globs of the image shards")
    captions: RecipePath = Field(description="the caption set's folder")
    format: Literal["webdataset", "parquet"] = "webdataset"
    samples_per_shard: int = Field(
        10_000,
        gt=0,
        le=1_000_000,
        description="samples in each shard but the last; DataComp's number, about 1 GB at 512 pixels",
    )
    source: str | None = Field(
        None,
        description="the set's name in the index, by which mixtures weight it; "
        "default: that of the captions' family, such as blip3-ocr",
    )
    granularity: NonNegativeInt = Field(
        0, description="granularity of the caption that becomes the .txt; BLIP-3 trains on 0"
    )
    raw_caption: bool | None = Field(
        None,
        description="use the caption that begins with the alt text; default: yes if the places are written into the "
        "alt texts, as in BLIP-3, since the other caption is a bare list of things; decided for each image if the set "
        "does not say what they were written into",
    )
    tokenizer: PathOrName | None = Field(None, description=TOKENIZER)
    by_reference: bool = Field(
        False,
        exclude_if=lambda by_reference: not by_reference,
        description="write the captions, and an index that refers to the images in the image shards; the shards must "
        "stay as they are",
    )

    @field_validator("by_reference")
    @classmethod
    def _check_format(cls, by_reference: bool, info: ValidationInfo) -> bool:
        if by_reference and info.data.get("format") == "parquet":
            raise ValueError("a set in Parquet has its images in it: leave out by_reference, or format: parquet")
        return by_reference
