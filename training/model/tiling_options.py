"""Defines how images become tiles of the tower's size, for a model and for single sources of its data."""

from typing import Literal

from pydantic import Field

from curation.images.tile_grids import XGEN_GRIDS, Grid
from schemas.output_set.options import Options

FixedFit = Literal["squash", "pad"]
"""How an image is put on its one tile: over the whole of it, or with its aspect kept and the border masked."""

CanvasFit = Literal["pad", "squash"]
"""How an image is put on its grid of tiles, likewise."""


class AnyResolutionOptions(Options):
    """Sets how images become tiles: one tile each, or a thumbnail and the tiles of a grid.

    Options that are newer than the first runs are left out of stored recipes where they have their default, so that
    such runs continue.
    """

    enabled: bool = Field(False, description="off in pre-training, on in fine-tuning, as in the paper")
    grids: tuple[Grid, ...] = Field(XGEN_GRIDS, min_length=1)
    fixed: FixedFit = Field(
        "squash",
        exclude_if=lambda fit: fit == "squash",
        description="without any resolution. squash: as SigLIP's processor does; pad: xGen-MM's baseline of Figure 8a",
    )
    canvas: CanvasFit = Field(
        "pad",
        exclude_if=lambda fit: fit == "pad",
        description="at any resolution. pad: as in xGen-MM; squash: MM1's sub-images, with grids of [[2, 2]]",
    )
    tile_order: Literal["true_tile", "reference"] = Field(
        "true_tile", description="reference: cells in the order that the released weights were trained with"
    )
    fixed_sampling: bool = Field(
        False,
        exclude_if=lambda fixed: not fixed,
        description="all tiles of an image through one call of the connector, which makes a tile's tokens of them: "
        "weaker than tile by tile in xGen-MM's Figure 8a, and a fifth of the tokens",
    )

    def reduce_to_thumbnail(self) -> "AnyResolutionOptions":
        """Returns the options by which an image becomes its thumbnail alone."""
        return self.model_copy(update={"enabled": False, "fixed": "squash"})


class SourceTilingOptions(Options):
    """Sets how the images of one source become tiles, where that differs from the model's `any_resolution`."""

    enabled: bool | None = Field(None, description="null, here and below: as in model.any_resolution")
    grids: tuple[Grid, ...] | None = Field(None, min_length=1)
    fixed: FixedFit | None = None
    canvas: CanvasFit | None = None

    def apply_to(self, options: AnyResolutionOptions) -> AnyResolutionOptions:
        """Returns the model's options with those that this source has of its own."""
        return options.model_copy(update=self.model_dump(exclude_none=True))
