"""An image file to the tiles that the tower sees, with what it takes of a loader's time kept small.

Decoding and resizing are nearly all that a loader does. Three things make them cheap here (a 512 x 384 JPEG to 384
pixels: 1.4 ms in place of 3.3 ms):

- torch's bicubic kernel for bytes in place of Pillow's: a quarter of the time, and as near to the exact values (both
  are 0.23 grey levels off on average, and 75 dB from each other). It gives the same bytes for any number of threads.
- A JPEG far larger than its tiles is decoded at 1/2, 1/4 or 1/8 of its size, which libjpeg does for less than half the
  cost. It is only done where 1.5 times the pixels that are needed are left in each direction: the tiles then differ by
  52 dB (median of photos and pages; 35 at worst), less than bicubic from bilinear (45 dB); without the margin by 46 and
  29 dB.
- Pixels are never floating-point numbers before they are on the tower's device.
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
from training.model.anyres import AnyResolutionOptions, Grid, Size, layout, valid_cells

Cut = tuple[NDArray[np.uint8], NDArray[np.bool_], Grid]
"""Tiles [k, 3, S, S], thumbnail first; valid cells [k, cells]; columns and rows, 0, 0 where there are no others."""

LIMITS = DecodeLimits()

_MARGIN = 1.5
_ORIENTATION = 0x0112  # the EXIF tag


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded image, or a smaller copy of it that its decoder made."""

    pixels: RgbImage
    size: Size  # upright, in full: what grids and planners go by
    extent: tuple[float, float]  # of the picture in `pixels`, whose last column and row may reach beyond it

    @classmethod
    def of(cls, image: Image.Image) -> "Picture":
        """Of an upright image."""
        return cls(_pixels(image), image.size, image.size)


def decode(data: bytes, want: int) -> Picture:
    """The picture in an image file, upright, RGB, by the rules of `curation.images.decode`; raises its `Rejected`.

    It may come smaller than it is stored, but large enough for one of `want` x `want` pixels to be made of it.
    """
    return _decode(data, lambda _: (want, want))


def read(data: bytes, options: AnyResolutionOptions, tile: int, patch: int) -> Cut:
    """`cut` of an image file, decoded no larger than it needs. Raises `Rejected`."""
    return cut(_decode(data, lambda size: _needed(size, options, tile)), options, tile, patch)


def cut(image: Picture | Image.Image, options: AnyResolutionOptions, tile: int, patch: int) -> Cut:
    """The image as tiles of `tile` pixels and the cells, of `patch` pixels, that show it.

    Of fixed size: the whole image squashed into one tile. Of any resolution: that as a thumbnail, then the tiles of
    the canvas on which the image lies centred on black, row by row.
    """
    picture = Picture.of(image) if isinstance(image, Image.Image) else image
    side = tile // patch
    thumbnail = _resized(picture, (tile, tile))
    if not options.enabled:
        return thumbnail[None], np.ones((1, side**2), np.bool_), (0, 0)
    placed = layout(picture.size, options.grids, tile)
    (columns, rows), (width, height), (left, top) = placed.grid, placed.resized, placed.offset
    canvas = np.zeros((3, rows * tile, columns * tile), np.uint8)
    canvas[:, top : top + height, left : left + width] = _resized(picture, placed.resized)
    by_tile = canvas.reshape(3, rows, tile, columns, tile).transpose(1, 3, 0, 2, 4)
    tiles = np.concatenate((thumbnail[None], by_tile.reshape(rows * columns, 3, tile, tile)))
    return tiles, valid_cells(picture.size, placed.grid, side), placed.grid


def _needed(size: Size, options: AnyResolutionOptions, tile: int) -> Size:
    """The most pixels that `cut` makes of an image of this size, in each direction."""
    if not options.enabled:
        return tile, tile
    width, height = layout(size, options.grids, tile).resized
    return max(tile, width), max(tile, height)


def _decode(data: bytes, needed: Callable[[Size], Size]) -> Picture:
    if (reduced := _reduced(data, needed)) is not None:
        return reduced
    pixels = decode_whole(data, LIMITS)
    size = (pixels.shape[1], pixels.shape[0])
    return Picture(pixels, size, size)


def _reduced(data: bytes, needed: Callable[[Size], Size]) -> Picture | None:
    """A JPEG decoded at a fraction of its size; None where that can't be, with all that is out of the ordinary."""
    if not data.startswith(b"\xff\xd8\xff") or has_too_many_scans(data):
        return None
    try:
        return run_within(LIMITS.max_seconds, lambda: _draft(data, needed))
    except Exception:  # noqa: BLE001 - what is wrong with it is for the full decoder to say
        return None


def _draft(data: bytes, needed: Callable[[Size], Size]) -> Picture | None:
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        size = image.size
        want = [math.ceil(_MARGIN * side) for side in needed(size)]
        if min(size[0] // want[0], size[1] // want[1]) < 2 or size[0] * size[1] > LIMITS.max_pixels:
            return None
        # Turning it would move the part of a pixel that is beyond its border to the other side.
        if image.mode not in ("RGB", "L") or image.getexif().get(_ORIENTATION, 1) != 1:
            return None
        drafted = image.draft(None, (want[0], want[1]))
        return None if drafted is None else Picture(_pixels(image), size, drafted[1][2:])


def _pixels(image: Image.Image) -> RgbImage:
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _resized(picture: Picture, size: Size) -> NDArray[np.uint8]:
    """[3, height, width] by bicubic interpolation, antialiased."""
    # numpy's copy, as torch wants to be able to write: torch's own takes many threads, and 40 times as long
    pixels = torch.from_numpy(picture.pixels.copy()).permute(2, 0, 1)[None]
    # What `functional.interpolate(mode="bicubic", antialias=True)` calls, but given the scales: the extent of a
    # reduced picture isn't a whole number of pixels.
    scales = (size[1] / picture.extent[1], size[0] / picture.extent[0])
    resized = torch.ops.aten._upsample_bicubic2d_aa(pixels, (size[1], size[0]), False, *scales)
    array: NDArray[np.uint8] = resized[0].contiguous().numpy()
    return array
