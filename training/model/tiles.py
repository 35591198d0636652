"""Decodes an image file and cuts it into the tiles that the tower takes, at little cost to the loader.

A loader spends nearly all its time on decoding and resizing. Three measures reduce it (a 512 x 384 JPEG to 384 pixels:
1.4 ms instead of 3.3 ms):

- torch's bicubic kernel for bytes replaces Pillow's: it takes a quarter of the time, and is as near to the exact values
  (both are 0.23 grey levels off on average, and 75 dB from each other). It gives the same bytes for any number of
  threads.
- A JPEG far larger than its tiles is decoded at 1/2, 1/4 or 1/8 of its size, which costs libjpeg less than half as
  much. This is done only if 1.5 times the needed pixels are left in each direction: the tiles then differ by 52 dB
  (median of photos and pages; 35 at worst), less than bicubic from bilinear (45 dB). Without the margin it would be 46
  and 29 dB.
- Pixels become floating-point numbers only on the tower's device.
"""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from curation.cpu_limit import run_within
from curation.images.decode import DecodeLimits, RgbImage
from curation.images.decode import decode as decode_whole
from curation.images.jpeg_scans import has_too_many_scans
from curation.images.tile_grids import Grid, Size
from curation.images.upright import ORIENTATION
from training.model.anyres import (
    Layout,
    compute_shown_cells,
    compute_valid_cells,
    place_on_grid,
    place_on_tile,
)
from training.model.tiling_options import AnyResolutionOptions

TiledImage = tuple[NDArray[np.uint8], NDArray[np.bool_], Grid]
"""Tiles [k, 3, S, S], thumbnail first; valid cells [k, cells]; columns and rows, or 0, 0 without any resolution."""

DECODE_LIMITS = DecodeLimits()

_REDUCTION_MARGIN = 1.5


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """Holds a decoded image, or a smaller copy of it that the decoder made."""

    pixels: RgbImage
    size: Size  # full size, upright: grids and planners use it
    extent: tuple[float, float]  # width and height of the picture in `pixels`, whose last column and row may exceed it
    is_thumbnail: bool = False  # shown as its thumbnail alone, also to a model of any resolution

    @classmethod
    def from_image(cls, image: Image.Image) -> "DecodedImage":
        """Wraps an upright image."""
        return cls(_to_rgb_array(image), image.size, image.size)


def decode_image(data: bytes, min_side: int) -> DecodedImage:
    """Decodes an image file to an upright RGB picture, by the rules of `curation.images.decode`; raises its `Rejected`.

    The picture may be smaller than the stored image, but it is large enough to be resized to `min_side` x `min_side`
    pixels.
    """
    return _decode(data, lambda _: (min_side, min_side))


def decode_tiles(data: bytes, options: AnyResolutionOptions, tile: int, patch: int) -> TiledImage:
    """Decodes an image file no larger than needed, and cuts it as `cut_into_tiles` does. Raises `Rejected`."""
    decoded = _decode(data, lambda size: _compute_needed_size(size, options, tile, patch))
    return cut_into_tiles(decoded, options, tile, patch)


def cut_into_tiles(
    image: DecodedImage | Image.Image, options: AnyResolutionOptions, tile: int, patch: int
) -> TiledImage:
    """Cuts an image into tiles of `tile` pixels a side, and marks the cells, of `patch` pixels a side, that show it.

    Without any resolution the whole image becomes one tile, squashed or centred on black. With it, the squashed tile is
    the thumbnail, and the tiles of the canvas follow row by row, with the image centred on black or over all of them.
    """
    picture = DecodedImage.from_image(image) if isinstance(image, Image.Image) else image
    side = tile // patch
    if not options.enabled and options.fixed == "pad":
        placed = place_on_tile(picture.size, tile, patch)
        return _draw(picture, placed, (tile, tile))[None], compute_shown_cells(placed, tile, patch), placed.grid
    thumbnail = _resize(picture, (tile, tile))
    if not options.enabled:
        return thumbnail[None], np.ones((1, side**2), np.bool_), (0, 0)
    placed = place_on_grid(picture.size, options, tile)
    columns, rows = placed.grid
    canvas = _draw(picture, placed, (columns * tile, rows * tile))
    by_tile = canvas.reshape(3, rows, tile, columns, tile).transpose(1, 3, 0, 2, 4)
    tiles = np.concatenate((thumbnail[None], by_tile.reshape(rows * columns, 3, tile, tile)))
    if options.canvas == "squash":
        return tiles, np.ones((len(tiles), side**2), np.bool_), placed.grid
    return tiles, compute_valid_cells(picture.size, placed.grid, side), placed.grid


def _draw(picture: DecodedImage, placed: Layout, size: Size) -> NDArray[np.uint8]:
    """Draws a picture on a black canvas [3, height, width] of this size, at its place."""
    (width, height), (left, top) = placed.resized, placed.offset
    canvas = np.zeros((3, size[1], size[0]), np.uint8)
    canvas[:, top : top + height, left : left + width] = _resize(picture, placed.resized)
    return canvas


def _compute_needed_size(size: Size, options: AnyResolutionOptions, tile: int, patch: int) -> Size:
    """Returns the largest width and height to which `cut_into_tiles` resizes an image of this size."""
    if not options.enabled:
        return (tile, tile) if options.fixed == "squash" else place_on_tile(size, tile, patch).resized
    width, height = place_on_grid(size, options, tile).resized
    return max(tile, width), max(tile, height)


def _decode(data: bytes, needed: Callable[[Size], Size]) -> DecodedImage:
    if (reduced := _decode_reduced(data, needed)) is not None:
        return reduced
    pixels = decode_whole(data, DECODE_LIMITS)
    size = (pixels.shape[1], pixels.shape[0])
    return DecodedImage(pixels, size, size)


def _decode_reduced(data: bytes, needed: Callable[[Size], Size]) -> DecodedImage | None:
    """Decodes a JPEG at a fraction of its size; None where it can't, and for anything unusual."""
    if not data.startswith(b"\xff\xd8\xff") or has_too_many_scans(data):
        return None
    try:
        return run_within(DECODE_LIMITS.max_seconds, lambda: _decode_reduced_jpeg(data, needed))
    except Exception:  # noqa: BLE001 - the full decoder reports what is wrong
        return None


def _decode_reduced_jpeg(data: bytes, needed: Callable[[Size], Size]) -> DecodedImage | None:
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        size = image.size
        want = [math.ceil(_REDUCTION_MARGIN * side) for side in needed(size)]
        if min(size[0] // want[0], size[1] // want[1]) < 2 or size[0] * size[1] > DECODE_LIMITS.max_pixels:
            return None
        # Rotating it would move the partial pixels, which exceed the picture's extent, to the opposite side.
        if image.mode not in ("RGB", "L") or image.getexif().get(ORIENTATION, 1) != 1:
            return None
        reduced = image.draft(None, (want[0], want[1]))
        return None if reduced is None else DecodedImage(_to_rgb_array(image), size, reduced[1][2:])


def _to_rgb_array(image: Image.Image) -> RgbImage:
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _resize(picture: DecodedImage, size: Size) -> NDArray[np.uint8]:
    """Resizes to [3, height, width] by bicubic interpolation with antialiasing."""
    # torch needs a writable array. numpy makes the copy: torch's uses many threads, and takes 40 times as long.
    pixels = torch.from_numpy(picture.pixels.copy()).permute(2, 0, 1)[None]
    # `functional.interpolate(mode="bicubic", antialias=True)` calls this, but does not pass the scales. They are needed
    # because the extent of a reduced picture is not a whole number of pixels.
    scales = (size[1] / picture.extent[1], size[0] / picture.extent[0])
    resized = torch.ops.aten._upsample_bicubic2d_aa(pixels, (size[1], size[0]), False, *scales)
    array: NDArray[np.uint8] = resized[0].contiguous().numpy()
    return array
