"""Draws web-like pictures of which all is known: posters, signs, receipts, charts, cards, memes, and scenes of things.

The same (seed, index) gives the same bytes on the same Pillow: all chance comes from one generator seeded with the two.
"""

import io
import random
from dataclasses import dataclass

from PIL import ImageFilter

from curation.demo_detector.scenes import draw_scene
from pipelines.demo.layouts import KINDS
from pipelines.demo.sheet import FOREIGN, PLACES, SHOPS, Quad, Size
from schemas.records.box import Box
from schemas.records.text_line import TextLine

SCENE = "scene"
SCENE_EVERY, SCENE_FIRST = 4, 1  # of the series: one in four


@dataclass(frozen=True, slots=True)
class Picture:
    """A JPEG, the alt text a web page might give it, and the truth about it."""

    jpeg: bytes
    width: int
    height: int
    caption: str
    lines: tuple[TextLine, ...]
    """Every line of text in the picture, in the order it was written, with confidence 1."""
    kind: str
    """A key of `KINDS`, or `SCENE`."""
    things: tuple[tuple[str, Box], ...] = ()
    """Every thing in a scene: what it is called, and where it is."""


def alt_text(rng: random.Random, kind: str, words: list[str]) -> str:
    """What a web page might say of such a picture: often little, sometimes nothing, now and then markup."""
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


def draw(seed: int, index: int) -> Picture:
    """Picture number `index` of the endless series that `seed` names: a pure function of the two."""
    rng = random.Random(f"{seed}/{index}")
    if index % SCENE_EVERY == SCENE_FIRST:
        return scene(rng)
    kind = rng.choice(list(KINDS))
    layout, least, aspects = KINDS[kind]
    long, aspect = rng.randint(least, 800), rng.choice(aspects)
    sheet = layout(rng, (long, int(long / aspect)) if aspect >= 1 else (int(long * aspect), long))
    if rng.random() < 0.3:
        sheet.turn(rng.choice((-1, 1)) * rng.uniform(0.4, 2.5))
    image = sheet.image
    if rng.random() < 0.25:
        image = image.filter(ImageFilter.GaussianBlur(min(1.5, sheet.smallest * rng.uniform(0.015, 0.035))))
    jpeg = io.BytesIO()
    image.save(jpeg, "JPEG", quality=rng.randint(60, 95))
    lines = tuple(truth(text, quad, image.size) for text, quad in sheet.lines)
    caption = alt_text(rng, kind, [line.text for line in lines])
    return Picture(jpeg.getvalue(), image.width, image.height, caption, lines, kind)


def scene(rng: random.Random) -> Picture:
    """A few things that the demo's detector knows, and an alt text that names them."""
    long, aspect = rng.randint(320, 640), rng.choice((4 / 3, 1.0, 3 / 4))
    drawn = draw_scene(rng, (long, int(long / aspect)) if aspect >= 1 else (int(long * aspect), long))
    jpeg = io.BytesIO()
    drawn.image.save(jpeg, "JPEG", quality=rng.randint(75, 95))
    return Picture(jpeg.getvalue(), *drawn.image.size, drawn.caption, (), SCENE, drawn.objects)


def truth(text: str, quad: Quad, size: Size) -> TextLine:
    """A written line as an engine would report it that makes no mistakes."""
    corners = [(x / size[0], y / size[1]) for x, y in quad]
    across, down = [x for x, _ in corners], [y for _, y in corners]
    (x1, y1), (x2, y2), (x3, y3), (x4, y4) = corners
    return TextLine(text, (x1, y1, x2, y2, x3, y3, x4, y4), (min(across), min(down), max(across), max(down)), 1.0)
