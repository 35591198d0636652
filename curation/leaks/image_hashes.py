"""Hashes images so that a resized, recompressed, mirrored or slightly cropped copy differs in few bits.

A hash has 256 bits, as the `phash` of ImageHash with `hash_size=16`: each says whether one of the 16 x 16 lowest
frequencies of the discrete cosine transform of 64 x 64 grey pixels is above their median. A crop changes them all, so
an image is also hashed by windows that each show 95 % of its sides: the window nearest to a crop is alike.

Reducing a window to 64 pixels and transforming it are both linear, so one product of matrices gives all windows.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curation.images.decode import RgbImage

BITS = 256
WORDS = BITS // 64
VIEWS = 26  # the whole, and windows at five places of each side
_SIDE, _LOW = 64, 16  # pixels of a side, and frequencies
_REDUCED = 256  # pixels of a side to which an image is reduced first
_WINDOW = 0.95  # of each side
_PLACES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of a window, of the sides' rest: no crop is further off than 0.7 % of a side
_FLAT = 2.0  # standard deviation of the grey values (0 to 255), below which noise decides the bits

Hashes = NDArray[np.uint64]
"""An array of hashes x 4 words."""


def _make_transform(start: float, size: float) -> NDArray[np.float64]:
    """Returns the matrix, [16, 256], that averages a window's pixels to 64 and computes their lowest frequencies."""
    edges, pixels = start + size / _SIDE * np.arange(_SIDE + 1), np.arange(_REDUCED)
    shared = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    cosines = np.cos(np.pi / (2 * _SIDE) * np.outer(np.arange(_LOW), 2 * np.arange(_SIDE) + 1))
    transform: NDArray[np.float64] = cosines @ np.maximum(shared, 0) * (_SIDE / size)
    return transform


_TRANSFORMS = np.concatenate(
    [
        _make_transform(0, _REDUCED),
        *(_make_transform(place * (1 - _WINDOW) * _REDUCED, _WINDOW * _REDUCED) for place in _PLACES),
    ]
)
_MIRROR = np.where(np.arange(_LOW) % 2, -1.0, 1.0)  # what it does to the frequencies across


def hash_views(image: RgbImage, mirrored: bool = False) -> Hashes:
    """Returns the hashes of an image's views: the whole, then 25 windows; if `mirrored`, then those of its mirror.

    An image without detail, such as an empty page, has none.
    """
    grey = Image.fromarray(image).convert("L").resize((_REDUCED, _REDUCED), Image.Resampling.BOX)
    pixels = np.asarray(grey, np.float64)
    if pixels.std() < _FLAT:
        return np.empty((0, WORDS), np.uint64)
    count = 1 + len(_PLACES)
    blocks = (_TRANSFORMS @ pixels @ _TRANSFORMS.T).reshape(count, _LOW, count, _LOW).swapaxes(1, 2)
    low = np.concatenate([blocks[:1, 0], blocks[1:, 1:].reshape(-1, _LOW, _LOW)])
    return _compare(np.concatenate([low, low * _MIRROR]) if mirrored else low)


def _compare(low: NDArray[np.float64]) -> Hashes:
    medians = np.median(low, axis=(1, 2), keepdims=True)
    return np.packbits((low > medians).reshape(len(low), BITS), axis=1).view(np.uint64)
