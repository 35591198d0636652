"""Draws numbers for the rows of a batch, each of which depends on the seed and on the row's own prompt alone.

So a prompt has the same answer whatever else is in its batch, and different prompts have draws of their own. One stream
of numbers for a whole batch would give neither.
"""

import hashlib
import random
from collections.abc import Sequence

from PIL import Image

from training.model.tiles import DecodedImage


class RowDraws:
    """Draws a number for each row at each step."""

    def __init__(self, seeds: Sequence[int]) -> None:
        """Takes a seed for each row."""
        self._streams = [random.Random(seed) for seed in seeds]

    @classmethod
    def for_prompts(cls, prompts: Sequence[Sequence[str | int | Image.Image | DecodedImage]], seed: int) -> "RowDraws":
        """Seeds each row by the seed and the content of its prompt."""
        return cls([derive_seed(prompt, seed) for prompt in prompts])

    def draw(self) -> list[float]:
        """Returns a number from 0 up to 1 for each row."""
        return [stream.random() for stream in self._streams]


def derive_seed(prompt: Sequence[str | int | Image.Image | DecodedImage], seed: int) -> int:
    """Returns a seed that another prompt, with another text or image, does not have."""
    digest = hashlib.sha256(str(seed).encode())
    for part in prompt:
        if isinstance(part, str | int):
            digest.update(f"\0{part!r}".encode())
        else:
            image = part if isinstance(part, DecodedImage) else DecodedImage.from_image(part)
            digest.update(f"\0{image.pixels.shape} {image.is_thumbnail}".encode())
            digest.update(image.pixels.tobytes())
    return int.from_bytes(digest.digest()[:8])
