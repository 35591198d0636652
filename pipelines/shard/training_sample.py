"""Builds training samples from images and their captions, and judges them by a condition on their columns."""

from collections.abc import Sequence

import pyarrow as pa

from curation.captions.choice import choose_caption
from curation.documents.filters import choose_stored_extension
from pipelines.inputs.row_filter import RowFilter
from pipelines.recipes.shard import ShardRecipe
from pipelines.shard.join import JoinedSample
from schemas.records.caption import Caption
from schemas.records.captioned_image import PARQUET_SCHEMA, CaptionedImage
from schemas.records.training_text import to_training_text

_WITHOUT_VALUES = ("image", "key")  # columns that a sample has only once it is in its shard
CONDITION_SCHEMA = pa.schema([field for field in PARQUET_SCHEMA if field.name not in _WITHOUT_VALUES])
"""The columns of a training sample that a condition may be about."""


class SampleCondition:
    """Judges training samples by the condition of a recipe on their columns."""

    def __init__(self, recipe: ShardRecipe, condition: RowFilter) -> None:
        """Raises `UsageError` if training samples have no such columns."""
        condition.check_columns(CONDITION_SCHEMA)
        self._recipe, self._condition = recipe, condition

    def mark(self, shard: str, samples: Sequence[JoinedSample]) -> list[bool]:
        """Returns for each sample of a shard whether the condition is true of it."""
        rows = [make_captioned_image(self._recipe, "", shard, sample).to_row() for sample in samples]
        held = [{name: row[name] for name in CONDITION_SCHEMA.names} for row in rows]
        found: list[bool] = self._condition.mark(pa.Table.from_pylist(held, schema=CONDITION_SCHEMA)).to_pylist()
        return found


def open_condition(recipe: ShardRecipe) -> SampleCondition | None:
    """Returns the condition of a recipe; None if it has none."""
    return None if recipe.where is None else SampleCondition(recipe, RowFilter.parse(recipe.where))


def make_captioned_image(recipe: ShardRecipe, key: str, shard: str, joined: JoinedSample) -> CaptionedImage:
    """Builds the training sample. Its key is new, because keys of several input shards may be equal."""
    image, matched = joined.matched.image, joined.matched
    return CaptionedImage(
        key=key,
        uid=image.uid or "",
        url=image.url or "",
        source_shard=shard,
        source_key=image.key,
        width=matched.width,
        height=matched.height,
        sha256=matched.sha256,
        alt_text=image.caption,
        text=read_caption(joined.captions, recipe),
        captions=joined.captions_json,
        metadata=matched.row.metadata,
        extension=choose_stored_extension(image.extension, image.image.data),
        image=image.image.data,
    )


def read_caption(captions: list[Caption], recipe: ShardRecipe) -> str:
    """Returns the caption of the granularity that the recipe asks for; if there is none, an empty text (counted)."""
    chosen = choose_caption(captions, recipe.granularity, recipe.raw_caption)
    # parsed before, so at most a byte order mark is removed
    return "" if chosen is None else to_training_text(chosen.text) or ""
