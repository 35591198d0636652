"""How sets of training shards become one."""

from typing import ClassVar, Literal

from pydantic import Field

from curation.mixture.options import MixtureOptions
from pipelines.recipes.base import Recipe


class MixRecipe(MixtureOptions, Recipe):
    """Mixes sets of training shards into one. Names stand in order, so that the order of a file's keys is no matter."""

    kind: ClassVar[str] = "mix"
    format: Literal["webdataset", "parquet"] = "webdataset"
    samples_per_shard: int = Field(10_000, gt=0, le=1_000_000, description="in each but the last shard")
