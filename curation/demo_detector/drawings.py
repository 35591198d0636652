"""Draws the objects of the scenes as coloured polygons, so that bounds are exact and independent of the resolution.

A drawing is a list of parts, painted in order, in its own coordinates: x to the right, y down, any extent.
"""

import math
import random
from collections.abc import Callable, Sequence
from typing import Final

Colour = tuple[int, int, int]
Point = tuple[float, float]
Part = tuple[Colour, list[Point]]

PALETTE: Final[dict[str, Colour]] = {
    "red": (214, 36, 36),
    "orange": (246, 132, 28),
    "yellow": (250, 218, 48),
    "green": (44, 158, 66),
    "blue": (40, 88, 214),
    "purple": (134, 58, 172),
    "white": (244, 244, 244),
    "black": (26, 26, 28),
}

_WHITE: Final = PALETTE["white"]
_DARK: Final = (48, 42, 40)
_BROWN: Final = (122, 78, 42)


def shape(rng: random.Random, name: str, colour: Colour) -> list[Part]:
    """Draws a plain shape, sometimes with an outline, rotated a little; arrows point in any direction."""
    points = _SHAPES[name](rng)
    angle = rng.uniform(0, 360) if name == "arrow" else rng.uniform(-14, 14)
    points = turned(points, angle)
    if rng.random() < 0.4:
        edge = _DARK if sum(colour) > 330 else _WHITE
        return [(edge, points), (colour, _shrunk(points, rng.uniform(0.8, 0.9)))]
    return [(colour, points)]


def thing(rng: random.Random, name: str, colour: Colour) -> list[Part]:
    """Draws a simple object whose main part has this colour; it may be mirrored and is rotated a little."""
    parts = _THINGS[name](rng, colour)
    mirror = rng.choice((-1, 1))
    angle = rng.uniform(-7, 7)
    return [(paint, turned([(mirror * x, y) for x, y in points], angle)) for paint, points in parts]


def bounds(parts: Sequence[Part]) -> tuple[float, float, float, float]:
    """Returns the left, top, right and bottom of all parts."""
    xs = [x for _, points in parts for x, _ in points]
    ys = [y for _, points in parts for _, y in points]
    return min(xs), min(ys), max(xs), max(ys)


def turned(points: Sequence[Point], degrees: float) -> list[Point]:
    """Returns the points rotated about the origin."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return [(x * cos - y * sin, x * sin + y * cos) for x, y in points]


def ellipse(x: float, y: float, rx: float, ry: float, start: float = 0, end: float = 360) -> list[Point]:
    """Returns an arc of an ellipse by its centre and radii, from start to end in degrees clockwise from the right."""
    steps = 40
    angles = [math.radians(start + (end - start) * step / steps) for step in range(steps + 1)]
    return [(x + rx * math.cos(angle), y + ry * math.sin(angle)) for angle in angles]


def _box(x1: float, y1: float, x2: float, y2: float) -> list[Point]:
    return [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]


def _star(points: int, inner: float, start: float = -90) -> list[Point]:
    """Returns a star with radius 1 at the tips and `inner` between them."""
    angles = [math.radians(start + 180 * step / points) for step in range(2 * points)]
    radii = (1.0, inner) * points
    return [(radius * math.cos(angle), radius * math.sin(angle)) for radius, angle in zip(radii, angles, strict=True)]


def _shrunk(points: Sequence[Point], factor: float) -> list[Point]:
    x = sum(x for x, _ in points) / len(points)
    y = sum(y for _, y in points) / len(points)
    return [(x + factor * (px - x), y + factor * (py - y)) for px, py in points]


def _circle(rng: random.Random) -> list[Point]:
    return ellipse(0, 0, 1, rng.uniform(0.94, 1.06))


def _square(rng: random.Random) -> list[Point]:
    width = rng.uniform(0.92, 1.08)
    return _box(-width, -1, width, 1)


def _triangle(rng: random.Random) -> list[Point]:
    return [(rng.uniform(-0.25, 0.25), -rng.uniform(0.8, 1.2)), (1, 0.75), (-1, 0.75)]


def _five_tips(rng: random.Random) -> list[Point]:
    return _star(5, rng.uniform(0.38, 0.5))


def _heart(rng: random.Random) -> list[Point]:
    height = rng.uniform(0.95, 1.1)
    angles = [math.radians(9 * step) for step in range(40)]
    return [
        (
            math.sin(a) ** 3,
            -height * (13 * math.cos(a) - 5 * math.cos(2 * a) - 2 * math.cos(3 * a) - math.cos(4 * a)) / 16,
        )
        for a in angles
    ]


def _cross(rng: random.Random) -> list[Point]:
    arm = rng.uniform(0.26, 0.4)
    corner = [(arm, -1), (arm, -arm), (1, -arm)]
    return [point for quarter in range(4) for point in turned(corner, 90 * quarter)]


def _arrow(rng: random.Random) -> list[Point]:
    neck, shaft, head = rng.uniform(0, 0.25), rng.uniform(0.2, 0.3), rng.uniform(0.6, 0.75)
    return [(-1, -shaft), (neck, -shaft), (neck, -head), (1, 0), (neck, head), (neck, shaft), (-1, shaft)]


_SHAPES: Final[dict[str, Callable[[random.Random], list[Point]]]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _five_tips,
    "heart": _heart,
    "cross": _cross,
    "arrow": _arrow,
}


def _stop_sign(rng: random.Random, _: Colour) -> list[Part]:
    rim = turned(ellipse(0, 0, 1, 1), 0)[::5][:8]
    rim = turned(rim, 22.5)
    red = (rng.randint(190, 220), rng.randint(15, 40), rng.randint(20, 40))
    bars = [_box(x, -0.24, x + 0.24, 0.24) for x in (-0.66, -0.3, 0.06, 0.42)]
    parts: list[Part] = [(_WHITE, rim), (red, _shrunk(rim, 0.88)), *((_WHITE, bar) for bar in bars)]
    if rng.random() < 0.5:
        return [((130, 130, 135), _box(-0.08, 0, 0.08, rng.uniform(1.5, 2.0))), *parts]
    return parts


def _house(rng: random.Random, colour: Colour) -> list[Part]:
    width, height, roof = rng.uniform(0.8, 1.0), rng.uniform(0.6, 1.0), rng.uniform(0.6, 0.9)
    tiles = rng.choice([(150, 50, 40), (90, 60, 50), (70, 75, 90)])
    parts: list[Part] = [
        (colour, _box(-width, 0, width, height)),
        (tiles, [(-width - 0.2, 0), (0, -roof), (width + 0.2, 0)]),
        (_BROWN, _box(-0.15, height * 0.35, 0.2, height)),
        ((170, 215, 240), _box(-0.65, height * 0.25, -0.32, height * 0.6)),
        ((170, 215, 240), _box(0.38, height * 0.25, 0.68, height * 0.6)),
    ]
    return parts


def _tree(rng: random.Random, _: Colour) -> list[Part]:
    leaves = (rng.randint(20, 70), rng.randint(110, 160), rng.randint(30, 70))
    trunk = _box(-0.14, 0.2, 0.14, 1.0)
    if rng.random() < 0.5:
        crown = [(0.0, -1.0), (0.6, -0.2), (0.35, -0.2), (0.75, 0.45), (-0.75, 0.45), (-0.35, -0.2), (-0.6, -0.2)]
        return [(_BROWN, trunk), (leaves, crown)]
    balls = [ellipse(-0.4, -0.1, 0.42, 0.42), ellipse(0.4, -0.1, 0.42, 0.42), ellipse(0, -0.5, 0.5, 0.5)]
    return [(_BROWN, trunk), *((leaves, ball) for ball in balls)]


def _car(rng: random.Random, colour: Colour) -> list[Part]:
    roof = rng.uniform(0.38, 0.5)
    cabin = [(-0.6, 0.0), (-0.4, -roof), (0.3, -roof), (0.6, 0.0)]
    window = [(-0.45, -0.02), (-0.32, -roof + 0.1), (0.22, -roof + 0.1), (0.42, -0.02)]
    wheels = [ellipse(x, 0.4, 0.22, 0.22) for x in (-0.52, 0.52)]
    hubs = [ellipse(x, 0.4, 0.1, 0.1) for x in (-0.52, 0.52)]
    body = [(-1.0, 0.4), (-1.0, 0.05), (-0.6, 0.0), (0.6, 0.0), (1.0, 0.1), (1.0, 0.4)]
    return [
        (colour, cabin),
        ((190, 225, 240), window),
        (colour, body),
        *((_DARK, wheel) for wheel in wheels),
        *(((190, 190, 190), hub) for hub in hubs),
    ]


def _sun(rng: random.Random, _: Colour) -> list[Part]:
    gold = (rng.randint(240, 255), rng.randint(190, 215), rng.randint(20, 60))
    rays = rng.randint(9, 12)
    parts: list[Part] = []
    for ray in range(rays):
        spike = [(0.62, -0.1), (1.0, 0.0), (0.62, 0.1)]
        parts.append((gold, turned(spike, 360 * ray / rays)))
    return [*parts, (gold, ellipse(0, 0, 0.55, 0.55)), ((255, 235, 130), ellipse(0, 0, 0.4, 0.4))]


def _flower(rng: random.Random, colour: Colour) -> list[Part]:
    petals = rng.randint(5, 7)
    green = (50, 140, 60)
    parts: list[Part] = [
        (green, _box(-0.07, 0.2, 0.07, 1.9)),
        (green, turned(ellipse(0.9, 0.9, 0.42, 0.16), 35)),
    ]
    for petal in range(petals):
        parts.append((colour, turned(ellipse(0.58, 0, 0.42, 0.28), 360 * petal / petals)))
    centre = (250, 210, 60) if abs(colour[0] - 250) + abs(colour[1] - 210) > 90 else (130, 70, 30)
    return [*parts, (centre, ellipse(0, 0, 0.3, 0.3))]


def _boat(rng: random.Random, colour: Colour) -> list[Part]:
    mast = rng.uniform(1.2, 1.5)
    sail = rng.choice([_WHITE, (250, 235, 200), (240, 150, 90)])
    return [
        (_BROWN, _box(-0.04, -mast, 0.05, 0.1)),
        (sail, [(0.12, -mast), (0.85, -0.08), (0.12, -0.08)]),
        (sail, [(-0.1, -mast * 0.8), (-0.1, -0.08), (-0.62, -0.08)]),
        (colour, [(-1.0, 0.05), (1.0, 0.05), (0.65, 0.5), (-0.65, 0.5)]),
    ]


def _cup(rng: random.Random, colour: Colour) -> list[Part]:
    base = rng.uniform(0.5, 0.66)
    handle = ellipse(0.68, 0.0, 0.45, 0.42) + ellipse(0.68, 0.0, 0.25, 0.24, 360, 0)
    return [
        (colour, handle),
        (colour, [(-0.75, -0.7), (0.75, -0.7), (base, 0.8), (-base, 0.8)]),
        (_DARK, ellipse(0, -0.7, 0.75, 0.16)),
        ((120, 75, 45), ellipse(0, -0.68, 0.63, 0.1)),
    ]


def _fish(rng: random.Random, colour: Colour) -> list[Part]:
    height = rng.uniform(0.42, 0.55)
    return [
        (colour, [(0.5, 0.0), (1.15, -0.5), (1.0, 0.0), (1.15, 0.5)]),
        (colour, [(-0.2, -height * 0.8), (0.3, -height - 0.25), (0.4, -height * 0.6)]),
        (colour, ellipse(-0.15, 0, 0.85, height)),
        (_WHITE, ellipse(-0.6, -0.1, 0.13, 0.13)),
        (_DARK, ellipse(-0.62, -0.1, 0.07, 0.07)),
    ]


def _cloud(rng: random.Random, _: Colour) -> list[Part]:
    grey = rng.randint(205, 250)
    tone = (grey, grey, min(255, grey + 5))
    balls = [(-0.6, 0.1, 0.4), (-0.15, -0.2, 0.5), (0.35, -0.1, 0.42), (0.7, 0.15, 0.32)]
    return [(tone, _box(-0.62, 0.1, 0.7, 0.48)), *((tone, ellipse(x, y, r, r)) for x, y, r in balls)]


def _umbrella(rng: random.Random, colour: Colour) -> list[Part]:
    scallops = [ellipse(x, 0, 0.25, 0.12, 180, 0) for x in (-0.75, -0.25, 0.25, 0.75)]
    top = ellipse(0, 0, 1, rng.uniform(0.75, 0.95), 180, 360) + [point for arc in scallops[::-1] for point in arc[::-1]]
    hook = ellipse(0.15, 0.95, 0.2, 0.2, 0, 180) + ellipse(0.15, 0.95, 0.1, 0.1, 180, 0)
    return [(_DARK, _box(-0.05, -0.9, 0.05, 0.97)), (_DARK, hook), (colour, top)]


def _mushroom(rng: random.Random, _: Colour) -> list[Part]:
    cap = rng.choice([(200, 45, 40), (150, 95, 55), (215, 120, 50)])
    spots = [(-0.5, -0.3, 0.15), (0.0, -0.55, 0.17), (0.48, -0.25, 0.14)]
    return [
        ((240, 228, 205), [(-0.26, -0.1), (0.26, -0.1), (0.36, 0.85), (-0.36, 0.85)]),
        (cap, ellipse(0, 0, 1, rng.uniform(0.8, 0.95), 180, 360)),
        *(((250, 245, 235), ellipse(x, y, r, r)) for x, y, r in spots),
    ]


def _clock(rng: random.Random, colour: Colour) -> list[Part]:
    parts: list[Part] = [(colour, ellipse(0, 0, 1, 1)), (_WHITE, ellipse(0, 0, 0.8, 0.8))]
    for hour in range(12):
        parts.append((_DARK, turned(_box(0.62, -0.05, 0.75, 0.05), 30 * hour)))
    for length, width in ((0.42, 0.08), (0.62, 0.06)):
        parts.append((_DARK, turned(_box(-0.05, -width, length, width), rng.uniform(0, 360))))
    return parts


_THINGS: Final[dict[str, Callable[[random.Random, Colour], list[Part]]]] = {
    "stop sign": _stop_sign,
    "house": _house,
    "tree": _tree,
    "car": _car,
    "sun": _sun,
    "flower": _flower,
    "boat": _boat,
    "cup": _cup,
    "fish": _fish,
    "cloud": _cloud,
    "umbrella": _umbrella,
    "mushroom": _mushroom,
    "clock": _clock,
}
