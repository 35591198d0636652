"""Draws the objects of the scenes as coloured polygons, so that bounds are exact and independent of the resolution.

A drawing is a list of parts, painted in order, in its own coordinates: x to the right, y down, any extent.
"""

import math
import random
from collections.abc import Callable, Sequence
from typing import Final

Colour = tuple[int, int, int]
Point = tuple[float, float]
Polygon = tuple[Colour, list[Point]]

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


def draw_shape(rng: random.Random, name: str, colour: Colour) -> list[Polygon]:
    """Draws a plain shape, sometimes with an outline, rotated a little; arrows point in any direction."""
    points = _SHAPES[name](rng)
    angle = rng.uniform(0, 360) if name == "arrow" else rng.uniform(-14, 14)
    points = rotate(points, angle)
    if rng.random() < 0.4:
        edge = _DARK if sum(colour) > 330 else _WHITE
        return [(edge, points), (colour, _shrink(points, rng.uniform(0.8, 0.9)))]
    return [(colour, points)]


def draw_thing(rng: random.Random, name: str, colour: Colour) -> list[Polygon]:
    """Draws a simple object whose main part has this colour; it may be mirrored and is rotated a little."""
    parts = _THINGS[name](rng, colour)
    mirror = rng.choice((-1, 1))
    angle = rng.uniform(-7, 7)
    return [(paint, rotate([(mirror * x, y) for x, y in points], angle)) for paint, points in parts]


def compute_bounds(parts: Sequence[Polygon]) -> tuple[float, float, float, float]:
    """Returns the left, top, right and bottom of all parts."""
    xs = [x for _, points in parts for x, _ in points]
    ys = [y for _, points in parts for _, y in points]
    return min(xs), min(ys), max(xs), max(ys)


def rotate(points: Sequence[Point], degrees: float) -> list[Point]:
    """Returns the points rotated about the origin."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return [(x * cos - y * sin, x * sin + y * cos) for x, y in points]


def draw_ellipse(x: float, y: float, rx: float, ry: float, start: float = 0, end: float = 360) -> list[Point]:
    """Returns an arc of an ellipse by its centre and radii, from start to end in degrees clockwise from the right."""
    steps = 40
    angles = [math.radians(start + (end - start) * step / steps) for step in range(steps + 1)]
    return [(x + rx * math.cos(angle), y + ry * math.sin(angle)) for angle in angles]


def _draw_box(x1: float, y1: float, x2: float, y2: float) -> list[Point]:
    return [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]


def _draw_star(points: int, inner: float, start: float = -90) -> list[Point]:
    """Returns a star with radius 1 at the tips and `inner` between them."""
    angles = [math.radians(start + 180 * step / points) for step in range(2 * points)]
    radii = (1.0, inner) * points
    return [(radius * math.cos(angle), radius * math.sin(angle)) for radius, angle in zip(radii, angles, strict=True)]


def _shrink(points: Sequence[Point], factor: float) -> list[Point]:
    x = sum(x for x, _ in points) / len(points)
    y = sum(y for _, y in points) / len(points)
    return [(x + factor * (px - x), y + factor * (py - y)) for px, py in points]


def _draw_circle(rng: random.Random) -> list[Point]:
    return draw_ellipse(0, 0, 1, rng.uniform(0.94, 1.06))


def _draw_square(rng: random.Random) -> list[Point]:
    width = rng.uniform(0.92, 1.08)
    return _draw_box(-width, -1, width, 1)


def _draw_triangle(rng: random.Random) -> list[Point]:
    return [(rng.uniform(-0.25, 0.25), -rng.uniform(0.8, 1.2)), (1, 0.75), (-1, 0.75)]


def _draw_five_pointed_star(rng: random.Random) -> list[Point]:
    return _draw_star(5, rng.uniform(0.38, 0.5))


def _draw_heart(rng: random.Random) -> list[Point]:
    height = rng.uniform(0.95, 1.1)
    angles = [math.radians(9 * step) for step in range(40)]
    return [
        (
            math.sin(a) ** 3,
            -height * (13 * math.cos(a) - 5 * math.cos(2 * a) - 2 * math.cos(3 * a) - math.cos(4 * a)) / 16,
        )
        for a in angles
    ]


def _draw_cross(rng: random.Random) -> list[Point]:
    arm = rng.uniform(0.26, 0.4)
    corner = [(arm, -1), (arm, -arm), (1, -arm)]
    return [point for quarter in range(4) for point in rotate(corner, 90 * quarter)]


def _draw_arrow(rng: random.Random) -> list[Point]:
    neck, shaft, head = rng.uniform(0, 0.25), rng.uniform(0.2, 0.3), rng.uniform(0.6, 0.75)
    return [(-1, -shaft), (neck, -shaft), (neck, -head), (1, 0), (neck, head), (neck, shaft), (-1, shaft)]


_SHAPES: Final[dict[str, Callable[[random.Random], list[Point]]]] = {
    "circle": _draw_circle,
    "square": _draw_square,
    "triangle": _draw_triangle,
    "star": _draw_five_pointed_star,
    "heart": _draw_heart,
    "cross": _draw_cross,
    "arrow": _draw_arrow,
}


def _draw_stop_sign(rng: random.Random, _: Colour) -> list[Polygon]:
    rim = rotate(draw_ellipse(0, 0, 1, 1), 0)[::5][:8]
    rim = rotate(rim, 22.5)
    red = (rng.randint(190, 220), rng.randint(15, 40), rng.randint(20, 40))
    bars = [_draw_box(x, -0.24, x + 0.24, 0.24) for x in (-0.66, -0.3, 0.06, 0.42)]
    parts: list[Polygon] = [(_WHITE, rim), (red, _shrink(rim, 0.88)), *((_WHITE, bar) for bar in bars)]
    if rng.random() < 0.5:
        return [((130, 130, 135), _draw_box(-0.08, 0, 0.08, rng.uniform(1.5, 2.0))), *parts]
    return parts


def _draw_house(rng: random.Random, colour: Colour) -> list[Polygon]:
    width, height, roof = rng.uniform(0.8, 1.0), rng.uniform(0.6, 1.0), rng.uniform(0.6, 0.9)
    tiles = rng.choice([(150, 50, 40), (90, 60, 50), (70, 75, 90)])
    parts: list[Polygon] = [
        (colour, _draw_box(-width, 0, width, height)),
        (tiles, [(-width - 0.2, 0), (0, -roof), (width + 0.2, 0)]),
        (_BROWN, _draw_box(-0.15, height * 0.35, 0.2, height)),
        ((170, 215, 240), _draw_box(-0.65, height * 0.25, -0.32, height * 0.6)),
        ((170, 215, 240), _draw_box(0.38, height * 0.25, 0.68, height * 0.6)),
    ]
    return parts


def _draw_tree(rng: random.Random, _: Colour) -> list[Polygon]:
    leaves = (rng.randint(20, 70), rng.randint(110, 160), rng.randint(30, 70))
    trunk = _draw_box(-0.14, 0.2, 0.14, 1.0)
    if rng.random() < 0.5:
        crown = [(0.0, -1.0), (0.6, -0.2), (0.35, -0.2), (0.75, 0.45), (-0.75, 0.45), (-0.35, -0.2), (-0.6, -0.2)]
        return [(_BROWN, trunk), (leaves, crown)]
    balls = [draw_ellipse(-0.4, -0.1, 0.42, 0.42), draw_ellipse(0.4, -0.1, 0.42, 0.42), draw_ellipse(0, -0.5, 0.5, 0.5)]
    return [(_BROWN, trunk), *((leaves, ball) for ball in balls)]


def _draw_car(rng: random.Random, colour: Colour) -> list[Polygon]:
    roof = rng.uniform(0.38, 0.5)
    cabin = [(-0.6, 0.0), (-0.4, -roof), (0.3, -roof), (0.6, 0.0)]
    window = [(-0.45, -0.02), (-0.32, -roof + 0.1), (0.22, -roof + 0.1), (0.42, -0.02)]
    wheels = [draw_ellipse(x, 0.4, 0.22, 0.22) for x in (-0.52, 0.52)]
    hubs = [draw_ellipse(x, 0.4, 0.1, 0.1) for x in (-0.52, 0.52)]
    body = [(-1.0, 0.4), (-1.0, 0.05), (-0.6, 0.0), (0.6, 0.0), (1.0, 0.1), (1.0, 0.4)]
    return [
        (colour, cabin),
        ((190, 225, 240), window),
        (colour, body),
        *((_DARK, wheel) for wheel in wheels),
        *(((190, 190, 190), hub) for hub in hubs),
    ]


def _draw_sun(rng: random.Random, _: Colour) -> list[Polygon]:
    gold = (rng.randint(240, 255), rng.randint(190, 215), rng.randint(20, 60))
    rays = rng.randint(9, 12)
    parts: list[Polygon] = []
    for ray in range(rays):
        spike = [(0.62, -0.1), (1.0, 0.0), (0.62, 0.1)]
        parts.append((gold, rotate(spike, 360 * ray / rays)))
    return [*parts, (gold, draw_ellipse(0, 0, 0.55, 0.55)), ((255, 235, 130), draw_ellipse(0, 0, 0.4, 0.4))]


def _draw_flower(rng: random.Random, colour: Colour) -> list[Polygon]:
    petals = rng.randint(5, 7)
    green = (50, 140, 60)
    parts: list[Polygon] = [
        (green, _draw_box(-0.07, 0.2, 0.07, 1.9)),
        (green, rotate(draw_ellipse(0.9, 0.9, 0.42, 0.16), 35)),
    ]
    for petal in range(petals):
        parts.append((colour, rotate(draw_ellipse(0.58, 0, 0.42, 0.28), 360 * petal / petals)))
    centre = (250, 210, 60) if abs(colour[0] - 250) + abs(colour[1] - 210) > 90 else (130, 70, 30)
    return [*parts, (centre, draw_ellipse(0, 0, 0.3, 0.3))]


def _draw_boat(rng: random.Random, colour: Colour) -> list[Polygon]:
    mast = rng.uniform(1.2, 1.5)
    sail = rng.choice([_WHITE, (250, 235, 200), (240, 150, 90)])
    return [
        (_BROWN, _draw_box(-0.04, -mast, 0.05, 0.1)),
        (sail, [(0.12, -mast), (0.85, -0.08), (0.12, -0.08)]),
        (sail, [(-0.1, -mast * 0.8), (-0.1, -0.08), (-0.62, -0.08)]),
        (colour, [(-1.0, 0.05), (1.0, 0.05), (0.65, 0.5), (-0.65, 0.5)]),
    ]


def _draw_cup(rng: random.Random, colour: Colour) -> list[Polygon]:
    base = rng.uniform(0.5, 0.66)
    handle = draw_ellipse(0.68, 0.0, 0.45, 0.42) + draw_ellipse(0.68, 0.0, 0.25, 0.24, 360, 0)
    return [
        (colour, handle),
        (colour, [(-0.75, -0.7), (0.75, -0.7), (base, 0.8), (-base, 0.8)]),
        (_DARK, draw_ellipse(0, -0.7, 0.75, 0.16)),
        ((120, 75, 45), draw_ellipse(0, -0.68, 0.63, 0.1)),
    ]


def _draw_fish(rng: random.Random, colour: Colour) -> list[Polygon]:
    height = rng.uniform(0.42, 0.55)
    return [
        (colour, [(0.5, 0.0), (1.15, -0.5), (1.0, 0.0), (1.15, 0.5)]),
        (colour, [(-0.2, -height * 0.8), (0.3, -height - 0.25), (0.4, -height * 0.6)]),
        (colour, draw_ellipse(-0.15, 0, 0.85, height)),
        (_WHITE, draw_ellipse(-0.6, -0.1, 0.13, 0.13)),
        (_DARK, draw_ellipse(-0.62, -0.1, 0.07, 0.07)),
    ]


def _draw_cloud(rng: random.Random, _: Colour) -> list[Polygon]:
    grey = rng.randint(205, 250)
    tone = (grey, grey, min(255, grey + 5))
    balls = [(-0.6, 0.1, 0.4), (-0.15, -0.2, 0.5), (0.35, -0.1, 0.42), (0.7, 0.15, 0.32)]
    return [(tone, _draw_box(-0.62, 0.1, 0.7, 0.48)), *((tone, draw_ellipse(x, y, r, r)) for x, y, r in balls)]


def _draw_umbrella(rng: random.Random, colour: Colour) -> list[Polygon]:
    scallops = [draw_ellipse(x, 0, 0.25, 0.12, 180, 0) for x in (-0.75, -0.25, 0.25, 0.75)]
    top = draw_ellipse(0, 0, 1, rng.uniform(0.75, 0.95), 180, 360) + [
        point for arc in scallops[::-1] for point in arc[::-1]
    ]
    hook = draw_ellipse(0.15, 0.95, 0.2, 0.2, 0, 180) + draw_ellipse(0.15, 0.95, 0.1, 0.1, 180, 0)
    return [(_DARK, _draw_box(-0.05, -0.9, 0.05, 0.97)), (_DARK, hook), (colour, top)]


def _draw_mushroom(rng: random.Random, _: Colour) -> list[Polygon]:
    cap = rng.choice([(200, 45, 40), (150, 95, 55), (215, 120, 50)])
    spots = [(-0.5, -0.3, 0.15), (0.0, -0.55, 0.17), (0.48, -0.25, 0.14)]
    return [
        ((240, 228, 205), [(-0.26, -0.1), (0.26, -0.1), (0.36, 0.85), (-0.36, 0.85)]),
        (cap, draw_ellipse(0, 0, 1, rng.uniform(0.8, 0.95), 180, 360)),
        *(((250, 245, 235), draw_ellipse(x, y, r, r)) for x, y, r in spots),
    ]


def _draw_clock(rng: random.Random, colour: Colour) -> list[Polygon]:
    parts: list[Polygon] = [(colour, draw_ellipse(0, 0, 1, 1)), (_WHITE, draw_ellipse(0, 0, 0.8, 0.8))]
    for hour in range(12):
        parts.append((_DARK, rotate(_draw_box(0.62, -0.05, 0.75, 0.05), 30 * hour)))
    for length, width in ((0.42, 0.08), (0.62, 0.06)):
        parts.append((_DARK, rotate(_draw_box(-0.05, -width, length, width), rng.uniform(0, 360))))
    return parts


_THINGS: Final[dict[str, Callable[[random.Random, Colour], list[Polygon]]]] = {
    "stop sign": _draw_stop_sign,
    "house": _draw_house,
    "tree": _draw_tree,
    "car": _draw_car,
    "sun": _draw_sun,
    "flower": _draw_flower,
    "boat": _draw_boat,
    "cup": _draw_cup,
    "fish": _draw_fish,
    "cloud": _draw_cloud,
    "umbrella": _draw_umbrella,
    "mushroom": _draw_mushroom,
    "clock": _draw_clock,
}
