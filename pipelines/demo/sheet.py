"""Provides the sheet on which a picture is drawn, which records every line of text, and the words to write on it."""

import math
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

SMALLEST_TEXT = 14  # pixels; a line that can only be written smaller is left out

# Two shades of the ground, then ink and accent, which contrast with both.
PALETTES = [
    ("#f7f1e3", "#e8d9b5", "#2d2a26", "#b33a2b"),
    ("#14213d", "#274472", "#ffffff", "#fca311"),
    ("#fdfdfd", "#e3ecf5", "#1b263b", "#1d70b8"),
    ("#264d3b", "#16352a", "#f4f1de", "#f2cc5c"),
    ("#5b1a2e", "#82243f", "#fff3e6", "#ffc6a5"),
    ("#ffe066", "#ffd23f", "#1f1d36", "#8f1d3f"),
    ("#222222", "#3a3a3a", "#f2f2f2", "#7fd1ae"),
    ("#cfe8d5", "#a9d3b8", "#17352b", "#7a2e0e"),
    ("#f8d7e3", "#f2b5cc", "#3c1642", "#7b1e57"),
]
SHOPS = ["Harbour Cafe", "MACK SHOP", "Blue Door Books", "Green Lane Bakery", "North Star Cycles", "Olive & Thyme"]
SHOPS += [
    "Corner Pharmacy",
    "Silver Fox Barbers",
    "Red Kettle Diner",
    "Juniper Flowers",
    "City Hardware",
    "Pixel Repair",
]
TITLES = ["Summer Jazz Night", "WINTER SALE", "Open Air Cinema", "Spring Book Fair", "City Marathon", "Farmers Market"]
TITLES += ["GRAND OPENING", "Street Food Festival", "Night of Museums", "Vintage Car Show", "Yoga for Beginners"]
SLOGANS = ["Up to 50% off all week", "Free entry for everyone", "Fresh bread every morning", "Made by hand since 1987"]
SLOGANS += ["Good food, fair prices", "Bring your friends", "Buy two and get one free", "Live music from 8 pm"]
PLACES = ["Riverside Park", "Old Town Hall", "Station Road 14", "Market Square", "Pier 7, Lisbon", "Queen Street 221"]
MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October"]
GOODS = ["Espresso", "Orange juice", "Bread rolls", "Tomato soup", "Olive oil", "Green tea", "Cheese plate"]
GOODS += ["Apples 1 kg", "Batteries", "Notebook", "Chocolate", "Mushrooms", "Sparkling water", "Rice 500 g"]
MEASURES = ["Visitors by month", "Sales in thousands", "Rainfall in mm", "Energy use by city", "Monthly active users"]
CITIES = ["Oslo", "Madrid", "Paris", "Lima", "Tokyo", "Cairo", "Delhi", "Berlin", "Quito", "Perth"]
NAMES = ["Anna Keller", "Tom Bright", "Maria Santos", "David Okoro", "Julia Novak", "Sam Whitfield", "Leila Haddad"]
REMARKS = ["Finally finished the kitchen", "Does anyone know a good dentist", "Best pizza in town, no contest"]
REMARKS += ["The train was late again today", "New recipe on the blog", "Three days until the holidays"]
REMARKS += ["Thank you all for the kind words", "Our office moves next week", "Coffee first, questions later"]
MEMES = [("WHEN THE CODE WORKS", "ON THE FIRST TRY"), ("ONE DOES NOT SIMPLY", "LEAVE ON A FRIDAY")]
MEMES += [
    ("I CAME FOR THE CAKE", "THERE WAS NO CAKE"),
    ("NOT SURE IF MONDAY", "OR JUST TIRED"),
    ("KEEP CALM", "AND CALL MUM"),
]
FOREIGN = [
    "東京のカフェ、朝の風景",
    "Летняя распродажа в центре города",
    "مقهى صغير قرب البحر",
    "서울 야경 사진",
    "Καλημέρα",
]

Point = tuple[float, float]
Quad = list[Point]
Size = tuple[int, int]


@lru_cache(maxsize=256)
def load_font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Loads Pillow's built-in font (Aileron) at a size in pixels. Cached, since Pillow unpacks it at every load."""
    return ImageFont.load_default(size=size)


class Sheet:
    """Holds a picture being drawn, with the quadrilateral of every line written so far, in pixels."""

    def __init__(self, ground: Image.Image) -> None:
        self.image = ground
        self.pen = ImageDraw.Draw(ground)
        self.width, self.height = ground.size
        self.margin = max(ground.size) // 14  # wider than the edges that `rotate` crops
        self.lines: list[tuple[str, Quad]] = []
        self.smallest_text = max(ground.size)

    def write(
        self, text: str, at: Point, size: float, ink: str, *, align: str = "l", max_width: float = 0, stroke: int = 0
    ) -> float:
        """Writes a line whose top is at `at` and returns the y below it, in pixels.

        x is the left, middle or right end of the line, by `align`: l, m or r. The text is shrunk to a width of
        `max_width` pixels (default: the space between the margins). A line that becomes too small to read, or reaches
        into the lower margin, is left out, and the given y is returned. A stroke of one pixel makes the letters bold; a
        thicker one is a black outline.
        """
        x, y = at
        between = {"l": self.width - self.margin - x, "m": self.width - 2 * self.margin, "r": x - self.margin}[align]
        pixels, stroke = (
            int(size),
            0 if stroke == 1 and size < 26 else stroke,
        )  # bold would fill the counters of small letters
        while True:
            box = self.pen.textbbox(at, text, font=load_font(pixels), anchor=align + "a", stroke_width=stroke)
            if box[2] - box[0] <= (max_width or between):
                break
            pixels -= 1
        if pixels < SMALLEST_TEXT or box[3] > self.height - self.margin / 2:
            return y
        edge = ink if stroke < 2 else "#000000"
        self.pen.text(at, text, ink, load_font(pixels), align + "a", stroke_width=stroke, stroke_fill=edge)
        self.lines.append((text, [(box[0], box[1]), (box[2], box[1]), (box[2], box[3]), (box[0], box[3])]))
        self.smallest_text = min(self.smallest_text, pixels)
        return y + pixels * 1.4

    def rotate(self, degrees: float) -> None:
        """Rotates the picture about its centre, counter-clockwise, and crops the empty edges."""
        sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
        cut_x, cut_y = (math.ceil(abs(sine) * side / 2) for side in (self.height, self.width))
        middle_x, middle_y = self.width / 2, self.height / 2
        turned = self.image.rotate(degrees, Image.Resampling.BICUBIC)
        self.image = turned.crop((cut_x, cut_y, self.width - cut_x, self.height - cut_y))

        def rotate_point(point: Point) -> Point:
            x, y = point[0] - middle_x, point[1] - middle_y
            return x * cosine + y * sine + middle_x - cut_x, y * cosine - x * sine + middle_y - cut_y

        self.lines = [(text, [rotate_point(corner) for corner in quad]) for text, quad in self.lines]
        self.width, self.height = self.image.size
