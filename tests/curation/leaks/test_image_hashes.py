"""Hashes of images against ImageHash's, and how far they move with what is done to copies."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from curation.leaks.image_hashes import BITS, VIEWS, hash_views
from tests.curation.leaks.support.copies import decoded, draw_photo, recompress

IMAGEHASH = "fae77fe7d4705ad155004ed1601080f0c2f9fcf0b5cc93cd478d14a87726f4d8"
"""The hexadecimal form that `imagehash.phash(image, hash_size=16)` of ImageHash 4.3.2 gave for `draw_grey()`."""


def draw_grey() -> Image.Image:
    """64 x 64 grey pixels, the size that ImageHash reduces an image to."""
    pixels = np.random.default_rng(7).integers(0, 256, (64, 64), dtype=np.uint8)
    return Image.fromarray(pixels)


def measure(one: Image.Image, other: Image.Image, mirrored: bool = False) -> int:
    """The least distance between the views of an image and those of another."""
    views, others = hash_views(decoded(one), mirrored), hash_views(decoded(other))
    return int(np.bitwise_count(views[:, None] ^ others[None]).sum(axis=2).min())


def test_the_hash_of_the_whole_is_that_of_imagehash() -> None:
    """Each pixel four times as high and as wide, the size to which an image is reduced first."""
    enlarged = draw_grey().resize((256, 256), Image.Resampling.NEAREST)
    assert hash_views(decoded(enlarged))[0].tobytes().hex() == IMAGEHASH


def test_views() -> None:
    photo = draw_photo(1)
    views = hash_views(decoded(photo), mirrored=True)
    assert views.shape == (2 * VIEWS, BITS // 64)
    assert (views[:VIEWS] == hash_views(decoded(photo))).all()
    mirror = hash_views(decoded(ImageOps.mirror(photo)))[0]
    assert np.bitwise_count(views[VIEWS] ^ mirror).sum() <= 4  # pixels are rounded otherwise


@pytest.mark.parametrize(
    ("number", "across", "down"), [(1, 0, 0), (2, 0.25, 0), (6, 0, 0.25), (13, 0.5, 0.5), (25, 1, 1)]
)
def test_windows(number: int, across: float, down: float) -> None:
    """Row by row, each of 95 % of the sides: of 800 pixels 760."""
    photo = draw_photo(3, 800, 800)
    left, top = round(40 * across), round(40 * down)
    window = hash_views(decoded(photo.crop((left, top, left + 760, top + 760))))[0]
    distances = np.bitwise_count(hash_views(decoded(photo)) ^ window).sum(axis=1)
    assert distances[number] == distances.min() <= 6


def test_copies_are_nearer_than_other_images() -> None:
    photo = draw_photo(1)
    assert measure(photo, recompress(photo, 30)) <= 12
    assert measure(photo, photo.resize((97, 60))) <= 12
    assert measure(photo, ImageOps.mirror(photo), mirrored=True) == 0
    assert measure(photo, draw_photo(2)) > 60
    assert measure(photo, ImageOps.mirror(photo)) > 60


def test_an_image_without_detail_has_no_hash() -> None:
    assert len(hash_views(decoded(Image.new("RGB", (80, 60), "white")))) == 0
