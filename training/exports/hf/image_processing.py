"""Cuts images into tiles for an exported model, with Pillow and torch alone: it needs no torchvision."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from transformers import BatchFeature
from transformers.image_processing_backends import PilBackend
from transformers.image_utils import PILImageResampling

from curation.images.upright import turn_upright
from training.model.anyres import count_tiles
from training.model.tiles import DecodedImage, cut_into_tiles
from training.model.tiling_options import AnyResolutionOptions
from training.model.towers.pixels import normalize_pixels


class ShardloomImageProcessor(PilBackend):
    """Cuts images as training did: each becomes one tile, or a thumbnail and the tiles of a grid."""

    size: Any
    auto_map: dict[str, str]
    do_convert_rgb = True
    do_resize = True
    do_rescale = True
    do_normalize = True
    resample = PILImageResampling.BICUBIC
    model_input_names = ["pixel_values", "valid_cells", "tile_grids"]  # noqa: RUF012 - as transformers has it

    def __init__(self, tiling: dict[str, Any] | None = None, patch_size: int = 14, **kwargs: Any) -> None:
        """Makes the processor; `tiling` says how images become tiles, `size` has the side of a tile in pixels."""
        super().__init__(**kwargs)
        self.tiling, self.patch_size = tiling or {}, patch_size

    def count_tiles(self, height: int, width: int) -> int:
        """Counts the tiles of an image of this size, the thumbnail included."""
        return count_tiles((width, height), self._get_tiling(), self.size.height)

    def fetch_images(self, image_url_or_urls: Any) -> Any:
        """Opens files as they are: transformers would drop their transparency, in place of a white background."""
        if isinstance(image_url_or_urls, list | tuple):
            return [self.fetch_images(one) for one in image_url_or_urls]
        try:
            if isinstance(image_url_or_urls, str):
                with Image.open(image_url_or_urls) as image:
                    image.load()
                    return image
        except OSError:  # it is a URL, or an image in base64
            pass
        return super().fetch_images(image_url_or_urls)

    def process_image(self, image: Any, *args: Any, **kwargs: Any) -> np.ndarray[Any, Any]:
        """Returns an upright image [3, H, W] of bytes, by the rules of training's reader."""
        if isinstance(image, Image.Image):
            image = turn_upright(image)
            if image.mode.startswith("I;16"):  # Pillow's conversion would clip it
                values = np.asarray(image).astype(np.uint32)
                image = Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
        return cast("np.ndarray[Any, Any]", super().process_image(image, *args, **kwargs))

    def _preprocess(  # type: ignore[override]
        self,
        images: list[np.ndarray[Any, Any]],
        image_mean: tuple[float, float, float],
        image_std: tuple[float, float, float],
        return_tensors: Any = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """Returns a row for each tile: pixels, the cells that show the picture, and the grid of its image."""
        tiles, cells, grids = [], [], []
        for image in images:
            if image.dtype != np.uint8:
                raise ValueError(f"an image has values of {image.dtype}; pass bytes from 0 to 255, or a Pillow image")
            size = (image.shape[2], image.shape[1])
            pixels = np.ascontiguousarray(image.transpose(1, 2, 0))
            cut, valid, grid = cut_into_tiles(
                DecodedImage(pixels, size, size), self._get_tiling(), self.size.height, self.patch_size
            )
            tiles.append(normalize_pixels(torch.from_numpy(cut), image_mean, image_std))
            cells.append(torch.from_numpy(valid))
            grids.append(torch.tensor([grid] * len(cut)))
        data = {"pixel_values": tiles, "valid_cells": cells, "tile_grids": grids}
        joined = {name: torch.cat(parts) for name, parts in data.items()}
        if return_tensors is None:
            return BatchFeature({name: tensor.numpy() for name, tensor in joined.items()})
        return BatchFeature(joined, tensor_type=return_tensors)

    def _get_tiling(self) -> AnyResolutionOptions:
        return cast("AnyResolutionOptions", SimpleNamespace(**self.tiling))
