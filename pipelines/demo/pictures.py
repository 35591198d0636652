"""Draws web-like pictures with known content: posters, signs, receipts, charts, cards, memes and scenes of objects.

The same (seed, index) gives the same bytes on the same version of Pillow, since one generator, seeded with the two, is
the only source of randomness.
"""

import io
import random
from dataclasses import dataclass

from PIL import ImageFilter

from curation.demo_detector.scenes import draw_scene
from pipelines.demo.layouts import LAYOUTS
from pipelines.demo.sheet import FOREIGN, PLACES, SHOPS, Quad, Size
from schemas.records.box import Box
from schemas.records.text_line import TextLine

SCENE = "scene"
SCENE_EVERY, SCENE_OFFSET = 4, 1  # every fourth picture of the series is a scene, from index 1


@dataclass(frozen=True, slots=True)
class Picture:
    """Holds a JPEG, the alt text that a web page might give it, and the ground truth."""

    jpeg: bytes
    width: int
    height: int
    caption: str
    lines: tuple[TextLine, ...]
    """Every line of text in the picture, in the order of writing, with confidence 1."""
    kind: str
    """A key of `LAYOUTS`, or `SCENE`."""
    objects: tuple[tuple[str, Box], ...] = ()
    """Name and box of every object in a scene."""


def make_alt_text(rng: random.Random, kind: str, words: list[str]) -> str:
    """Makes an alt text as web pages have it: often short, sometimes empty, foreign, a file name or with markup."""
    said = words[0] if words else rng.choice(PLACES)
    described = [f"{kind} - {said}", f"Photo of a {kind}: {said}", f"{said} | {rng.choice(SHOPS)}", said.title()]
    chance = rng.random()
    if chance < 0.12:
        return ""
    if chance < 0.22:
        return rng.choice(FOREIGN)
    if chance < 0.32:
        return rng.choice([f'A {kind} that says "{said}"', f"<b>{said}</b> now on", f"“{said}” &amp; more"])
    if chance < 0.42:
        return f"IMG_{rng.randint(1000, 9999)}.jpg"
    return rng.choice(described)


def draw_picture(seed: int, index: int) -> Picture:
    """Draws picture `index` of the endless series of `seed`: a pure function of the two."""
    rng = random.Random(f"{seed}/{index}")
    if index % SCENE_EVERY == SCENE_OFFSET:
        return draw_scene_picture(rng)
    kind = rng.choice(list(LAYOUTS))
    layout, least, aspects = LAYOUTS[kind]
    long, aspect = rng.randint(least, 800), rng.choice(aspects)
    sheet = layout(rng, (long, int(long / aspect)) if aspect >= 1 else (int(long * aspect), long))
    if rng.random() < 0.3:
        sheet.rotate(rng.choice((-1, 1)) * rng.uniform(0.4, 2.5))
    image = sheet.image
    if rng.random() < 0.25:
        image = image.filter(ImageFilter.GaussianBlur(min(1.5, sheet.smallest_text * rng.uniform(0.015, 0.035))))
    jpeg = io.BytesIO()
    image.save(jpeg, "JPEG", quality=rng.randint(60, 95))
    lines = tuple(make_true_line(text, quad, image.size) for text, quad in sheet.lines)
    caption = make_alt_text(rng, kind, [line.text for line in lines])
    return Picture(jpeg.getvalue(), image.width, image.height, caption, lines, kind)


def draw_scene_picture(rng: random.Random) -> Picture:
    """Draws a few objects that the demo's detector knows, with an alt text that names them."""
    long, aspect = rng.randint(320, 640), rng.choice((4 / 3, 1.0, 3 / 4))
    drawn = draw_scene(rng, (long, int(long / aspect)) if aspect >= 1 else (int(long * aspect), long))
    jpeg = io.BytesIO()
    drawn.image.save(jpeg, "JPEG", quality=rng.randint(75, 95))
    return Picture(jpeg.getvalue(), *drawn.image.size, drawn.caption, (), SCENE, drawn.objects)


def make_true_line(text: str, quad: Quad, size: Size) -> TextLine:
    """Returns a written line as a perfect OCR engine would report it, with coordinates in [0, 1].

    `quad` is in pixels, `size` is (width, height).
    """
    corners = [(x / size[0], y / size[1]) for x, y in quad]
    across, down = [x for x, _ in corners], [y for _, y in corners]
    (x1, y1), (x2, y2), (x3, y3), (x4, y4) = corners
    return TextLine(text, (x1, y1, x2, y2, x3, y3, x4, y4), (min(across), min(down), max(across), max(down)), 1.0)
