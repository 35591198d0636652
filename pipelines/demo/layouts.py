"""Draws each kind of picture. The random generator passed in is the only source of randomness."""

import math
import random
from collections.abc import Callable

from PIL import Image, ImageDraw, ImageOps

from pipelines.demo.sheet import (
    CITIES,
    GOODS,
    MEASURES,
    MEMES,
    MONTHS,
    NAMES,
    PALETTES,
    PLACES,
    REMARKS,
    SHOPS,
    SLOGANS,
    SMALLEST_TEXT,
    TITLES,
    Sheet,
    Size,
)


def draw_gradient(rng: random.Random, size: Size, first: str, second: str) -> Image.Image:
    """Draws a gradient of two colours, downwards or sideways, in half the cases with a little grain like a camera's."""
    ramp = Image.linear_gradient("L")
    if rng.random() < 0.5:
        ramp = ramp.transpose(Image.Transpose.ROTATE_90)
    ground = ImageOps.colorize(ramp.resize(size), first, second)
    if rng.random() < 0.5:
        return ground
    grain = Image.frombytes("L", size, rng.randbytes(size[0] * size[1]))
    return Image.blend(ground, grain.convert("RGB"), rng.uniform(0.01, 0.05))


def draw_landscape(rng: random.Random, size: Size) -> Image.Image:
    """Draws sky, sun and three ranges of hills, the nearer the darker."""
    width, height = size
    sky, haze = rng.choice([("#4a90d9", "#d6e9f8"), ("#2b2d5b", "#f29e6d"), ("#7fb2d6", "#fbe9c6")])
    view = ImageOps.colorize(Image.linear_gradient("L").resize(size), sky, haze)
    pen = ImageDraw.Draw(view)
    radius, x, y = min(size) * rng.uniform(0.05, 0.1), width * rng.uniform(0.15, 0.85), height * rng.uniform(0.15, 0.35)
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill="#fff4c9")
    colour = rng.choice([(96, 128, 96), (110, 116, 140), (150, 118, 84)])
    for near in range(3):
        base, swing = height * (0.5 + 0.15 * near), height * rng.uniform(0.03, 0.09)
        wave, start = rng.uniform(1.5, 4.0) * math.tau / width, rng.uniform(0, math.tau)
        crest = [math.sin(wave * x + start) + 0.4 * math.sin(2.7 * wave * x) for x in range(0, width + 8, 8)]
        ridge = [(8 * step, base + swing * rise) for step, rise in enumerate(crest)]
        pen.polygon([*ridge, (width, height), (0, height)], tuple(int(part * (1 - 0.27 * near)) for part in colour))
    return view


def draw_bokeh(rng: random.Random, size: Size) -> Image.Image:
    """Draws soft patches of light and dark, like a photograph out of focus."""
    patches = Image.frombytes("L", (6, 5), rng.randbytes(30)).resize(size, Image.Resampling.BICUBIC)
    return ImageOps.colorize(
        patches, *rng.choice([("#1d2b3a", "#7f93a8"), ("#2e2117", "#a9815a"), ("#1c2f22", "#7c9a6e")])
    )


def draw_poster(rng: random.Random, size: Size) -> Sheet:
    """Draws a poster: title, slogan, date and place on a coloured ground, then a landscape, and a web address."""
    first, second, ink, accent = rng.choice(PALETTES)
    sheet = Sheet(draw_gradient(rng, size, first, second))
    align = rng.choice("lm")
    x = sheet.margin if align == "l" else sheet.width / 2
    unit, y = sheet.height * rng.uniform(0.8, 1.0), sheet.margin * rng.uniform(1.0, 1.6)
    for line in rng.choice(TITLES).split(" ", rng.randint(0, 1)):
        y = sheet.write(line, (x, y), unit * 0.14, ink, align=align, stroke=rng.randint(0, 1))
    sheet.pen.rectangle((sheet.margin, y + 2, sheet.width - sheet.margin, y + 5), fill=accent)
    y += unit * 0.05
    when = f"{rng.randint(1, 28)} {rng.choice(MONTHS)} {rng.randint(2012, 2026)}"
    for line, share in ((rng.choice(SLOGANS), 0.08), (when, 0.07), (rng.choice(PLACES), 0.06)):
        y = sheet.write(line, (x, y), unit * share, ink, align=align)
    band = int(sheet.height - max(2 * sheet.margin, 40))
    view = int(y + unit * 0.025)
    if band - view > sheet.height * 0.12:
        sheet.image.paste(draw_landscape(rng, (sheet.width, band - view)), (0, view))
    if band > y:
        sheet.pen.rectangle((0, band, sheet.width, sheet.height), fill=ink)
        address = f"www.{rng.choice(SHOPS).replace(' ', '').replace('&', 'and').lower()}.com"
        sheet.write(address, (x, band + sheet.margin * 0.3), max(16, sheet.margin * 0.7), first, align=align)
    return sheet


def draw_sign(rng: random.Random, size: Size) -> Sheet:
    """Draws the signboard of a shop, on a brick wall."""
    sheet = Sheet(
        draw_gradient(rng, size, *rng.choice([("#a65e4e", "#8a4b3d"), ("#b9b1a5", "#9c948a"), ("#7d8590", "#666d78")]))
    )
    brick = max(10, sheet.height // 16)
    for row in range(0, sheet.height, brick):
        sheet.pen.line((0, row, sheet.width, row), fill="#6f625a")
        for x in range(row // brick % 2 * brick, sheet.width, 2 * brick):
            sheet.pen.line((x, row, x, row + brick), fill="#6f625a")
    board, _, ink, accent = rng.choice(PALETTES)
    top, bottom = sheet.height * rng.uniform(0.12, 0.2), sheet.height * rng.uniform(0.8, 0.88)
    side, edge = sheet.margin * 0.7, max(2, sheet.margin // 8)
    sheet.pen.rounded_rectangle((side, top, sheet.width - side, bottom), side, fill=board, outline=accent, width=edge)
    middle, max_width, tall = sheet.width / 2, sheet.width - 3.2 * sheet.margin, bottom - top
    y = sheet.write(
        rng.choice(SHOPS), (middle, top + tall * 0.14), tall * 0.36, ink, align="m", max_width=max_width, stroke=1
    )
    small = max(SMALLEST_TEXT, tall * 0.13)
    hours = f"Open {rng.randint(6, 10)}:00 - {rng.randint(16, 22)}:30"
    for line in rng.sample([rng.choice(SLOGANS), hours, f"Tel. 555 {rng.randint(1000, 9999)}"], rng.randint(1, 2)):
        if y + small * 1.8 < bottom:
            y = sheet.write(line, (middle, y + tall * 0.03), small, ink, align="m", max_width=max_width)
    return sheet


def draw_receipt(rng: random.Random, size: Size) -> Sheet:
    """Draws a receipt on a table: goods and prices on a strip of paper, whose height follows the number of goods."""
    goods, text = rng.sample(GOODS, rng.randint(4, 9)), max(15, size[0] // 20)
    table = rng.choice([("#6b4f3a", "#4a3426"), ("#3f4a54", "#59646e"), ("#a08468", "#7d6650")])
    sheet = Sheet(draw_gradient(rng, (size[0], int(text * (14 + 1.4 * len(goods)))), *table))
    left, right, ink = text, sheet.width - text, rng.choice(["#222222", "#3b3b46", "#4a3f3f"])
    sheet.pen.rectangle((left, text, right, sheet.height - text), fill="#f6f4ee")
    left, right, middle, max_width = left + 2 * text, right - 2 * text, sheet.width / 2, sheet.width - 6 * text
    y = sheet.write(
        rng.choice(SHOPS).upper(), (middle, text * 2.5), text * 1.4, ink, align="m", max_width=max_width, stroke=1
    )
    y = sheet.write(rng.choice(PLACES), (middle, y), text, ink, align="m", max_width=max_width)
    day = f"{rng.randint(1, 28):02}/{rng.randint(1, 12):02}/{rng.randint(2014, 2026)}"
    y = sheet.write(
        f"{day} {rng.randint(8, 21):02}:{rng.randint(0, 59):02}", (middle, y), text, ink, align="m", max_width=max_width
    )
    prices = [rng.randint(90, 2500) for _ in goods]
    y += text
    for name, cents in zip(goods, prices, strict=True):
        sheet.write(name, (left, y), text, ink)
        y = sheet.write(f"{cents / 100:.2f}", (right, y), text, ink, align="r")
    sheet.pen.line((left, y + text * 0.4, right, y + text * 0.4), fill=ink)
    sheet.write("TOTAL", (left, y + text), text * 1.2, ink, stroke=1)
    y = sheet.write(f"${sum(prices) / 100:.2f}", (right, y + text), text * 1.2, ink, align="r", stroke=1)
    thanks = rng.choice(["Thank you for your visit", "Please come again", "Paid by card"])
    sheet.write(thanks, (middle, y + text * 0.5), text, ink, align="m", max_width=max_width)
    return sheet


def draw_chart(rng: random.Random, size: Size) -> Sheet:
    """Draws a bar chart, with names below the bars and a scale at the left."""
    first, _, ink, accent = rng.choice(
        [palette for palette in PALETTES if palette[0] in ("#fdfdfd", "#f7f1e3", "#222222")]
    )
    sheet = Sheet(Image.new("RGB", size, first))
    text = max(15, sheet.height // 26)
    top = sheet.write(rng.choice(MEASURES), (sheet.width / 2, sheet.margin), text * 1.5, ink, align="m") + text
    left, right, foot = sheet.margin + text * 3, sheet.width - sheet.margin, sheet.height - sheet.margin - text * 2
    step = rng.choice([10, 20, 25, 50, 200, 250])
    ticks = 4 if foot - top > text * 10 else 3
    for tick in range(1, ticks + 1):
        y = foot - (foot - top) * tick / ticks
        sheet.pen.line((left, y, right, y), fill="#9a9a9a")
        sheet.write(f"{step * tick}", (left - text * 0.6, y - text * 0.6), text, ink, align="r")
    sheet.pen.line((left, foot, right, foot), fill=ink, width=2)
    names = rng.choice([[month[:3] for month in MONTHS], rng.sample(CITIES, len(CITIES))])
    bars = min(rng.randint(3, 7), int((right - left) / (text * 5)))
    for bar, name in enumerate(names[:bars]):
        x, half = left + (right - left) * (bar + 0.5) / bars, (right - left) / bars * 0.3
        colour = accent if rng.random() < 0.7 else "#8d99ae"
        sheet.pen.rectangle((x - half, foot - (foot - top) * rng.uniform(0.1, 0.95), x + half, foot), fill=colour)
        sheet.write(name, (x, foot + text * 0.5), text, ink, align="m")
    return sheet


def draw_card(rng: random.Random, size: Size) -> Sheet:
    """Draws a screenshot of a post: title bar, face, name, lines of text and counts; its height follows the text."""
    light, dark = ("#e9ecef", "#ffffff", "#1c1e21", "#606770"), ("#101418", "#1f262d", "#eef1f4", "#a3adb8")
    page, paper, ink, grey = rng.choice([light, dark])
    remarks, text = rng.sample(REMARKS, rng.randint(2, 5)), max(15, size[0] // 26)
    sheet = Sheet(Image.new("RGB", (size[0], int(text * (12 + 1.7 * len(remarks)))), page))
    sheet.pen.rectangle((0, 0, sheet.width, text * 2.6), fill=rng.choice(["#1d70b8", "#6a1b9a", "#00695c", "#37474f"]))
    sheet.write(rng.choice(["Home", "Messages", "Profile", "Local news"]), (text * 2, text * 0.9), text, "#ffffff")
    sheet.pen.rounded_rectangle((text, text * 3.4, sheet.width - text, sheet.height - text * 0.8), 12, fill=paper)
    y, left, right, face = text * 4.2, text * 2, sheet.width - text * 2, text * 2.6
    sheet.pen.ellipse((left, y, left + face, y + face), fill=rng.choice(["#f4a261", "#2a9d8f", "#e76f51", "#8d99ae"]))
    below = sheet.write(rng.choice(NAMES), (left + face * 1.3, y), text, ink, stroke=1)
    sheet.write(f"{rng.randint(2, 23)} hours ago", (left + face * 1.3, below), text, grey)
    y += face + text * 0.7
    for remark in remarks:
        y = sheet.write(remark, (left, y), text * 1.15, ink, max_width=right - left)
    sheet.pen.line((left, y + text * 0.3, right, y + text * 0.3), fill=grey)
    sheet.write(f"{rng.randint(12, 980)} likes", (left, y + text * 0.8), text, grey)
    sheet.write(f"{rng.randint(2, 60)} comments", (right, y + text * 0.8), text, grey, align="r")
    return sheet


def draw_meme(rng: random.Random, size: Size) -> Sheet:
    """Draws a meme: a line of outlined capitals at the top and one at the bottom of a picture."""
    sheet = Sheet(rng.choice([draw_bokeh, draw_landscape])(rng, size))
    above, below = rng.choice(MEMES)
    big, outline = sheet.height * 0.13, max(2, sheet.height // 180)
    sheet.write(above, (sheet.width / 2, sheet.margin), big, "#ffffff", align="m", stroke=outline)
    sheet.write(below, (sheet.width / 2, sheet.height * 0.78), big, "#ffffff", align="m", stroke=outline)
    return sheet


def draw_scenery(rng: random.Random, size: Size) -> Sheet:
    """Draws a landscape without text."""
    return Sheet(draw_landscape(rng, size))


def draw_shapes(rng: random.Random, size: Size) -> Sheet:
    """Draws large shapes on a gradient, without text."""
    palette = rng.choice(PALETTES)
    sheet = Sheet(draw_gradient(rng, size, palette[0], palette[1]))
    for _ in range(rng.randint(2, 5)):
        x, y, side = rng.uniform(0, sheet.width), rng.uniform(0, sheet.height), max(size) * rng.uniform(0.15, 0.35)
        shape = rng.choice([sheet.pen.ellipse, sheet.pen.rectangle])
        shape((x - side / 2, y - side / 2, x + side / 2, y + side / 2), fill=rng.choice(palette[2:]))
    return sheet


LAYOUTS: dict[str, tuple[Callable[[random.Random, Size], Sheet], int, tuple[float, ...]]] = {
    "poster": (draw_poster, 300, (0.7, 0.75, 1.0, 1.33)),
    "sign": (draw_sign, 300, (1.5, 2.0, 1.33)),
    "receipt": (draw_receipt, 520, (0.6, 0.7)),  # uses only the width, as the card does
    "chart": (draw_chart, 400, (1.33, 1.5, 1.78)),
    "card": (draw_card, 420, (1.0,)),
    "meme": (draw_meme, 320, (1.0, 1.33, 1.5)),
    "scenery": (draw_scenery, 280, (1.0, 1.5, 0.67)),
    "shapes": (draw_shapes, 280, (1.0, 1.33, 0.75)),
}
"""Maps each kind to its drawing function, the least long side in pixels, and its aspect ratios (width / height)."""
