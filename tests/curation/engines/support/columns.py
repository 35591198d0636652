"""Draws a page with columns."""

import textwrap

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from curation.images.decode import RgbImage

TEXT = """The harbour was quiet when the first boats came in before dawn. Nobody had expected them so early in the
year, and the market was not yet open. By noon the whole town had heard of it, and people stood on the walls to see
the nets being unloaded, one after the other. A boy counted the baskets aloud until he lost his place, and then began
again from the first, to the laughter of the women beside him."""


def draw_columns(columns: int) -> tuple[RgbImage, list[str]]:
    """Returns a page of two or three columns of six lines under a headline, and its lines in reading order."""
    lines, headline = textwrap.wrap(TEXT, 24)[: 6 * columns], " ".join(["Early boats"] * columns)
    assert len(lines) == 6 * columns
    image = Image.new("RGB", (60 + 280 * columns, 320), "white")
    draw = ImageDraw.Draw(image)
    draw.text((30, 20), headline, fill="black", font=ImageFont.load_default(size=44))
    for number, line in enumerate(lines):
        place = (30 + number // 6 * 280, 110 + number % 6 * 30)
        draw.text(place, line, fill="black", font=ImageFont.load_default(size=20))
    return np.asarray(image), [headline, *lines]
