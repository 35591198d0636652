"""Pictures like photos, and copies of them as the web makes them."""

import io

import numpy as np
from PIL import Image, ImageFilter

from curation.images.decode import RgbImage


def draw_photo(seed: int, width: int = 320, height: int = 240) -> Image.Image:
    """Blurred noise of several sizes, as smooth and as rough as photos are."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3))
    for cells in (3, 6, 12, 24, 48):
        noise = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        total += np.asarray(noise.resize((width, height), Image.Resampling.BICUBIC), np.float64) / cells**0.8
    low, high = total.min(), total.max()
    return Image.fromarray(((total - low) / (high - low) * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.5))


def encode(image: Image.Image, quality: int = 90) -> bytes:
    """The image as a JPEG file."""
    data = io.BytesIO()
    image.save(data, "JPEG", quality=quality)
    return data.getvalue()


def recompress(image: Image.Image, quality: int) -> Image.Image:
    """The image as it is after JPEG of this quality."""
    return Image.open(io.BytesIO(encode(image, quality)))


def crop(image: Image.Image, share: float, across: float = 0.5, down: float = 0.5) -> Image.Image:
    """The image without this share of each side; `across` and `down` say where the rest lies, 0 to 1."""
    width, height = image.size
    left, top = width * share * across, height * share * down
    return image.crop((round(left), round(top), round(left + width * (1 - share)), round(top + height * (1 - share))))


def decoded(image: Image.Image) -> RgbImage:
    """The pixels as `decode` returns them."""
    return np.asarray(image.convert("RGB"))
