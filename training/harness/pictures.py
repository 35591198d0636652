"""Turns what a task of lmms-eval shows into a question with image files."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from curation.images.upright import turn_upright
from curation.tasks.question import IMAGE_MARKER, Question
from schemas.errors import UsageError

_PNG_MODES = ("1", "L", "LA", "I;16", "P", "RGB", "RGBA")
_PNG_LEVEL = 1  # the fastest that still compresses; the pixels are the same for all


def make_question(name: str, text: str, visuals: Sequence[Any] | None) -> Question:
    """Returns a question with its images: at the places of `<image>` in the text, else before it.

    Raises `UsageError` for a video or a sound.
    """
    images = tuple(encode_image(visual) for visual in visuals or ())
    if text.count(IMAGE_MARKER) != len(images):
        text = text.replace(IMAGE_MARKER, "")
    return Question(name, text, images, answers=())


def encode_image(visual: Any) -> bytes:
    """Returns the bytes of an image file, of an image that is decoded already a PNG with the same pixels, upright.

    Raises `UsageError` for what is no image.
    """
    if isinstance(visual, str) and Path(visual).is_file():
        return Path(visual).read_bytes()
    if not isinstance(visual, Image.Image):
        raise UsageError(f"lmms-eval: the task shows a {type(visual).__name__}; shardloom takes images and texts alone")
    file = io.BytesIO()
    upright = turn_upright(visual)  # a PNG would be without the orientation
    image = upright if upright.mode in _PNG_MODES else upright.convert("RGB")
    image.save(file, "PNG", compress_level=_PNG_LEVEL)
    return file.getvalue()
