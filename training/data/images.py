"""Turns images into tiles: the planner counts tiles from an image's size, the loader makes them from its bytes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.images.tile_grids import Grid
from training.model.anyres import count_tiles_of_images
from training.model.tiling_options import AnyResolutionOptions


@dataclass(frozen=True, slots=True)
class ImageTiler:
    """Describes the tiles that the vision tower takes of a source's images."""

    options: AnyResolutionOptions
    tile_size: int  # side in pixels
    patch_size: int  # side in pixels
    tokens_per_tile: int

    @property
    def cells(self) -> int:
        """Returns the number of cells of a tile."""
        return (self.tile_size // self.patch_size) ** 2

    def count_tiles(self, widths: NDArray[np.integer], heights: NDArray[np.integer]) -> NDArray[np.int32]:
        """Counts the tiles of images of these sizes in pixels, the thumbnails included."""
        return count_tiles_of_images(widths, heights, self.options, self.tile_size)

    def decode_tiles(self, data: bytes) -> tuple[NDArray[np.uint8], NDArray[np.bool_], Grid]:
        """Cuts an image file into its tiles, uint8 [k, 3, S, S], valid cells, bool [k, cells], and grid.

        Raises `Rejected` when the image can't be decoded.
        """
        from training.model.tiles import decode_tiles  # here, so that a planner needs neither Pillow nor torch

        return decode_tiles(data, self.options, self.tile_size, self.patch_size)

    @property
    def fingerprint(self) -> str:
        """Describes everything that the number of an image's tokens depends on."""
        return f"{self.options.model_dump_json()} {self.tile_size} {self.tokens_per_tile}"
