"""Turns images into tiles: the planner counts tiles from an image's size, the loader makes them from its bytes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.model.anyres import AnyResolutionOptions, Grid, tile_counts


@dataclass(frozen=True, slots=True)
class ImageShape:
    """Describes the tiles that the vision tower takes."""

    options: AnyResolutionOptions
    tile: int  # side in pixels
    patch: int  # side in pixels
    tokens_per_tile: int

    @property
    def cells(self) -> int:
        """Returns the number of cells of a tile."""
        return (self.tile // self.patch) ** 2

    def tiles(self, widths: NDArray[np.integer], heights: NDArray[np.integer]) -> NDArray[np.int32]:
        """Counts the tiles of images of these sizes in pixels, the thumbnails included."""
        return tile_counts(widths, heights, self.options, self.tile)

    def cut(self, data: bytes) -> tuple[NDArray[np.uint8], NDArray[np.bool_], Grid]:
        """Cuts an image file into its tiles, uint8 [k, 3, S, S], valid cells, bool [k, cells], and grid.

        Raises `Rejected` when the image can't be decoded.
        """
        from training.model.tiles import read  # here, so that a planner needs neither Pillow nor torch

        return read(data, self.options, self.tile, self.patch)

    @property
    def fingerprint(self) -> str:
        """Describes everything that the number of an image's tokens depends on."""
        return f"{self.options.model_dump_json()} {self.tile} {self.tokens_per_tile}"
