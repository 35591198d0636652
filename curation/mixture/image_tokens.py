"""Counts the tokens that images become, for mixtures that are weighted by multimodal tokens: those of text and images.

This is a pure function of the images' sizes, so that `mix` and the trainer plan with it alike.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, PositiveInt

from curation.images.tile_grids import XGEN_GRIDS, Grid, count_grid_tiles
from schemas.output_set.options import Options

MULTIMODAL_TOKENS = "multimodal_tokens"
"""The unit of weights, and the name of the measure."""


class ImageTokenRule(Options):
    """Sets how many tokens an image counts; in a recipe, a number alone is `per_tile`."""

    per_tile: PositiveInt = Field(description="tokens of a tile; 128 in xGen-MM, 144 in MM1")
    tile: PositiveInt | None = Field(
        None,
        description="side of a tile in pixels, where images are cut at any resolution; null: each image is one tile",
    )
    grids: tuple[Grid, ...] = Field(XGEN_GRIDS, min_length=1, description="as in model.any_resolution of a recipe")

    def count(self, widths: NDArray[np.integer], heights: NDArray[np.integer]) -> NDArray[np.int64]:
        """Counts the tokens of images of these sizes in pixels."""
        if self.tile is None:
            return np.full(len(widths), self.per_tile, np.int64)
        return count_grid_tiles(widths, heights, self.grids, self.tile).astype(np.int64) * self.per_tile

    def sum_by_sample(self, details: pa.ChunkedArray) -> NDArray[np.int64]:
        """Sums the tokens of each sample's images; `details` is the column `image_details` of an index."""
        lists = details.combine_chunks()
        sizes = lists.flatten()
        counts = self.count(sizes.field("width").to_numpy(), sizes.field("height").to_numpy())
        ends = np.cumsum(pc.fill_null(pc.list_value_length(lists), 0).to_numpy().astype(np.int64))
        total = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        sums: NDArray[np.int64] = np.diff(total[ends], prepend=0)
        return sums

    def sum_images(self, images: Sequence[Mapping[str, Any]]) -> int:
        """Sums the tokens of images that are given as in a row of an index."""
        widths, heights = (np.asarray([image[side] for image in images], np.int64) for side in ("width", "height"))
        return int(self.count(widths, heights).sum())


def _expand_number(value: Any) -> Any:
    return {"per_tile": value} if isinstance(value, int) and not isinstance(value, bool) else value


ImageTokens = Annotated[ImageTokenRule, BeforeValidator(_expand_number)]
"""A rule, or a number of tokens for every image."""
