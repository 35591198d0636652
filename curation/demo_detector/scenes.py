"""Draws scenes for the demo detector: coloured shapes and simple objects over varied backgrounds, with a caption.

All randomness comes from the generator that is passed in, and all sizes are in units of the picture's short side, so
the same generator gives the same scene at every resolution.
"""

import math
import random
from collections import Counter
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw, ImageOps

from curation.demo_detector.drawings import PALETTE, Colour, Polygon, compute_bounds, draw_shape, draw_thing
from curation.demo_detector.vocabulary import COLOURS, NOUNS, SHAPES

Box = tuple[float, float, float, float]

_COUNTS: Final = (1, 2, 2, 3, 3, 4)  # numbers of objects in a scene, drawn uniformly
_SIZES: Final = (0.20, 0.58)  # longer side of an object, in short sides of the picture
_MIN_CONTRAST: Final = 110  # least distance between an object's main colour and the background's, out of 441
_MIN_EDGE_CONTRAST: Final = 60  # the same for each part that reaches the edge of the object's box


@dataclass(frozen=True, slots=True)
class Scene:
    """Holds a picture, its objects as (label, box), and a caption that names them all.

    A box is x1, y1, x2, y2 as shares of the picture's width and height.
    """

    image: Image.Image
    objects: tuple[tuple[str, Box], ...]
    caption: str


def draw_scene(rng: random.Random, size: tuple[int, int], count: int | None = None) -> Scene:
    """Draws a scene of width and height in pixels, at least 32 each, with up to `count` objects, else one to four."""
    width, height = size
    unit = min(size)
    fine = 4 if unit < 112 else 2  # drawn this much larger, then reduced: smooth edges
    backdrop = _Backdrop(rng)
    canvas = backdrop.paint(size, fine)
    pen = ImageDraw.Draw(canvas)
    objects: list[tuple[str, Box]] = []
    for _ in range(count or rng.choice(_COUNTS)):
        label, parts = _draw_object(rng, backdrop)
        place = _find_placement(rng, parts, width / unit, height / unit, [box for _, box in objects])
        if place is None:
            continue
        scale, dx, dy = place
        for colour, points in parts:
            pen.polygon([((x * scale + dx) * unit * fine, (y * scale + dy) * unit * fine) for x, y in points], colour)
        x1, y1, x2, y2 = compute_bounds(parts)
        objects.append((label, (x1 * scale + dx, y1 * scale + dy, x2 * scale + dx, y2 * scale + dy)))
    image = _add_grain(rng, canvas.reduce(fine))
    across, down = width / unit, height / unit
    shares = tuple((label, (x1 / across, y1 / down, x2 / across, y2 / down)) for label, (x1, y1, x2, y2) in objects)
    return Scene(image, shares, _compose_caption(rng, shares))


def _draw_object(rng: random.Random, backdrop: "_Backdrop") -> tuple[str, list[Polygon]]:
    while True:
        noun = rng.choice(NOUNS)
        colour = rng.choice([name for name in COLOURS if backdrop.is_far_from(PALETTE[name])])
        paint = _jitter(rng, PALETTE[colour], 10)
        if noun in SHAPES:
            return f"{colour} {noun}", draw_shape(rng, noun, paint)
        parts = draw_thing(rng, noun, paint)
        outer = compute_bounds(parts)
        reaching = [
            tone
            for tone, points in parts
            if any(a == b for a, b in zip(compute_bounds([(tone, points)]), outer, strict=True))
        ]
        if all(backdrop.is_far_from(tone, _MIN_EDGE_CONTRAST) for tone in reaching):
            return noun, parts


def _find_placement(
    rng: random.Random, parts: list[Polygon], across: float, down: float, taken: list[Box]
) -> tuple[float, float, float] | None:
    """Returns scale and offset that put the drawing inside the picture and clear of the others, or None."""
    x1, y1, x2, y2 = compute_bounds(parts)
    longest = rng.uniform(*_SIZES)
    for attempt in range(40):
        scale = max(_SIZES[0], longest * 0.97**attempt) / max(x2 - x1, y2 - y1)
        width, height = (x2 - x1) * scale, (y2 - y1) * scale
        left, top = rng.uniform(0.01, across - width - 0.01), rng.uniform(0.01, down - height - 0.01)
        if all(_is_apart((left, top, left + width, top + height), other) for other in taken):
            return scale, left - x1 * scale, top - y1 * scale
    return None


def _is_apart(a: Box, b: Box) -> bool:
    """Returns whether two boxes overlap by less than a hundredth of a short side, across or down."""
    return min(a[2], b[2]) - max(a[0], b[0]) < 0.01 or min(a[3], b[3]) - max(a[1], b[1]) < 0.01


def _jitter(rng: random.Random, colour: Colour, by: int) -> Colour:
    red, green, blue = (min(255, max(0, value + rng.randint(-by, by))) for value in colour)
    return red, green, blue


class _Backdrop:
    """Fills the picture with two colours in one of several patterns."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = random.Random(rng.getrandbits(64))
        while True:
            base = tuple(self._rng.randint(20, 245) for _ in range(3))
            self._colours = [_jitter(self._rng, (base[0], base[1], base[2]), spread) for spread in (10, 45)]
            if sum(self.is_far_from(colour) for colour in PALETTE.values()) >= 3:
                break

    def is_far_from(self, colour: Colour, least: float = _MIN_CONTRAST) -> bool:
        return all(math.dist(colour, other) >= least for other in self._colours)

    def paint(self, size: tuple[int, int], fine: int) -> Image.Image:
        """Returns the backdrop, `fine` times as large as `size`."""
        large = size[0] * fine, size[1] * fine
        kind = self._rng.choice(("plain", "gradient", "stripes", "patches", "speckles", "hills"))
        if kind == "gradient":
            turn = self._rng.choice((0, 90, 180, 270))
            mask = Image.linear_gradient("L").rotate(turn).resize(size, Image.Resampling.BILINEAR)
        elif kind in ("patches", "speckles"):
            cells = self._rng.randint(3, 6) if kind == "patches" else self._rng.randint(24, 40)
            shares = [max(1, round(cells * side / min(size))) for side in size]
            small = Image.frombytes("L", (shares[0], shares[1]), self._rng.randbytes(shares[0] * shares[1]))
            mask = small.resize(size, Image.Resampling.BICUBIC)
        else:
            mask = self._paint_bands(size, fine, kind)
        black, white = self._colours
        return ImageOps.colorize(mask, black, white).resize(large, Image.Resampling.NEAREST)

    def _paint_bands(self, size: tuple[int, int], fine: int, kind: str) -> Image.Image:
        """Returns a flat, striped or hilly mask in black and white."""
        large = size[0] * fine, size[1] * fine
        unit = min(large)
        mask = Image.new("L", large, 0)
        pen = ImageDraw.Draw(mask)
        if kind == "stripes":
            band, slope = self._rng.uniform(0.05, 0.16) * unit, self._rng.uniform(-0.8, 0.8)
            upright = self._rng.random() < 0.5
            along, over = large if upright else large[::-1]
            lean = slope * over
            for index in range(-12, int(2 * along / band) + 12, 2):
                start = index * band - abs(lean)
                strip = [(start, 0), (start + band, 0), (start + band + lean, over), (start + lean, over)]
                pen.polygon(strip if upright else [(y, x) for x, y in strip], 255)
        elif kind == "hills":
            level, wave, phase = self._rng.uniform(0.4, 0.8), self._rng.uniform(0.02, 0.1), self._rng.uniform(0, 6)
            ridge = [
                (large[0] * step / 24, large[1] * (level + wave * math.sin(phase + step / 3))) for step in range(25)
            ]
            pen.polygon([*ridge, (large[0], large[1]), (0, large[1])], 255)
        return mask.reduce(fine)


def _add_grain(rng: random.Random, image: Image.Image) -> Image.Image:
    """Adds the grain of a camera to half of the pictures, about a hundred grains along a short side."""
    grain = random.Random(rng.getrandbits(64))
    if grain.random() < 0.5:
        return image
    unit = min(image.size)
    across, down = (round(100 * side / unit) for side in image.size)
    noise = Image.frombytes("RGB", (across, down), grain.randbytes(across * down * 3))
    return Image.blend(image, noise.resize(image.size, Image.Resampling.BILINEAR), grain.uniform(0.02, 0.1))


def _compose_caption(rng: random.Random, objects: tuple[tuple[str, Box], ...]) -> str:
    """Names the objects as an alternative text would."""
    names = Counter(label for label, _ in objects)
    if len(objects) == 2 and len(names) == 2:
        (first, a), (second, b) = objects
        return f"{_format_count(first, 1)} {_describe_relation(a, b)} {_format_count(second, 1)}"
    listed = [_format_count(label, number) for label, number in names.items()]
    rng.shuffle(listed)
    return " and ".join([", ".join(listed[:-1]), listed[-1]]) if len(listed) > 1 else listed[0]


def _describe_relation(a: Box, b: Box) -> str:
    dx, dy = a[0] + a[2] - b[0] - b[2], a[1] + a[3] - b[1] - b[3]
    if abs(dx) >= abs(dy):
        return "left of" if dx < 0 else "right of"
    return "above" if dy < 0 else "below"


def _format_count(label: str, number: int) -> str:
    if number == 1:
        return f"{'an' if label[0] in 'aeiou' else 'a'} {label}"
    plural = label if label == "fish" else f"{label}es" if label.endswith("s") else f"{label}s"
    return f"{('two', 'three', 'four')[number - 2]} {plural}"
