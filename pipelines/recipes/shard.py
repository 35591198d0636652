"""How images and captions are joined into training shards."""

from typing import ClassVar, Literal

from pydantic import Field, NonNegativeInt

from pipelines.recipes.base import TOKENIZER, Recipe
from schemas.output_set.options import Globs


class ShardRecipe(Recipe):
    """Joins image shards with a caption set into training shards."""

    kind: ClassVar[str] = "shard"
    images: Globs = Field(min_length=1, description="globs of the image shards")
    captions: str = Field(description="the caption set's folder")
    format: Literal["webdataset", "parquet"] = "webdataset"
    samples_per_shard: int = Field(10_000, gt=0, le=1_000_000, description="DataComp's own; about 1 GB at 512 pixels")
    source: str | None = Field(
        None,
        description="the data set's name in the index, by which mixtures are weighted; "
        "default: that of the captions' family, as blip3-ocr",
    )
    granularity: NonNegativeInt = Field(0, description="the caption that becomes the .txt; BLIP-3 trains on 0")
    raw_caption: bool | None = Field(
        None,
        description="whether that caption begins with the alt text; default: where places were put into the alt texts, "
        "as BLIP-3 has them: without these it is a bare list of things",
    )
    tokenizer: str | None = Field(None, description=TOKENIZER)
