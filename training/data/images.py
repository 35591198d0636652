"""How images become tiles, and how many: known to the planner from their sizes, made by the loader from their bytes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.model.anyres import AnyResolutionOptions, Grid, tile_counts


@dataclass(frozen=True, slots=True)
class ImageShape:
    """What the tower takes."""

    options: AnyResolutionOptions
    tile: int  # pixels of a side
    patch: int
    tokens_per_tile: int

    @property
    def cells(self) -> int:
        """Cells of a tile."""
        return (self.tile // self.patch) ** 2

    def tiles(self, widths: NDArray[np.integer], heights: NDArray[np.integer]) -> NDArray[np.int32]:
        """Tiles of images of these sizes."""
        return tile_counts(widths, heights, self.options, self.tile)

    def cut(self, data: bytes) -> tuple[NDArray[np.uint8], NDArray[np.bool_], Grid]:
        """The tiles of an image's file, uint8 [k, 3, S, S]; bool [k, cells]; its grid. Raises `Rejected`."""
        from training.model.tiles import read  # here, because a planner does without Pillow and torch

        return read(data, self.options, self.tile, self.patch)

    @property
    def fingerprint(self) -> str:
        """Of all that an image's length hangs on."""
        return f"{self.options.model_dump_json()} {self.tile} {self.tokens_per_tile}"
