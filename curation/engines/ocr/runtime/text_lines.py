"""Does what OCR engines share before and after reading: resizes pictures, makes lines from polygons, orders lines."""

import unicodedata
from collections import Counter
from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from curation.engines.ocr.reading_order import ReadingOrder, order_by_columns, order_by_rows
from curation.images.decode import RgbImage
from schemas.records.text_line import TextLine

STRIDE = 32
"""Text detectors accept sides that are multiples of this, in pixels."""


def resize_within(image: RgbImage, max_side: int) -> NDArray[np.uint8]:
    """Resizes an image so that its long side is at most `max_side`, without sides below `STRIDE` where possible."""
    height, width = image.shape[:2]
    factor = min(max(1.0, STRIDE / min(height, width)), max_side / max(height, width))
    if factor == 1.0:
        return image
    size = [max(1, round(side * factor)) for side in (width, height)]
    shrink_or_grow = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=shrink_or_grow), np.uint8)


def build_lines(
    texts: Iterable[str],
    polygons: NDArray[np.float64],
    confidences: Iterable[float],
    size: tuple[int, int],
    reading_order: ReadingOrder,
) -> list[TextLine]:
    """Makes lines in reading order from texts, corners and confidences; leaves out lines without text or area.

    The corners are lines x 4 x 2, in pixels, clockwise from the text's top left. `size` is the picture's width and
    height.
    """
    parts = np.clip(np.asarray(polygons, np.float64).reshape(-1, 4, 2) / size, 0.0, 1.0)
    lines = [
        _build_line(text.strip(), polygon, float(confidence))
        for text, polygon, confidence in zip(texts, parts, confidences, strict=True)
    ]
    return order_lines([line for line in lines if line.text and _has_area(line)], size, reading_order)


def order_lines(lines: Iterable[TextLine], size: tuple[int, int], reading_order: ReadingOrder) -> list[TextLine]:
    """Sorts the lines of a picture of this width and height in pixels. The order of the input does not matter.

    Text that mostly runs from right to left is always sorted into rows, since its columns are read in the other order.
    """
    lines = list(lines)
    if reading_order == "lines" or _runs_right_to_left(lines):
        return sort_in_reading_order(lines)
    lines.sort(key=lambda line: (line.polygon, line.text))
    corners = np.array([line.polygon for line in lines], np.float64).reshape(-1, 4, 2) * size
    return [lines[at] for at in order_by_columns(corners)]


def sort_in_reading_order(lines: Iterable[TextLine]) -> list[TextLine]:
    """Sorts lines into rows from top to bottom, each from left to right. The order of the input does not matter."""
    lines = sorted(lines, key=lambda line: (line.box, line.text))
    return [lines[at] for at in order_by_rows(np.array([line.box for line in lines], np.float64).reshape(-1, 4))]


def _runs_right_to_left(lines: Iterable[TextLine]) -> bool:
    counts = Counter(unicodedata.bidirectional(letter) for line in lines for letter in line.text)
    return counts["R"] + counts["AL"] > counts["L"]


def _build_line(text: str, polygon: NDArray[np.float64], confidence: float) -> TextLine:
    (x1, y1), (x2, y2) = polygon.min(axis=0).tolist(), polygon.max(axis=0).tolist()
    a, b, c, d, e, f, g, h = polygon.ravel().tolist()
    return TextLine(text, (a, b, c, d, e, f, g, h), (x1, y1, x2, y2), confidence)


def _has_area(line: TextLine) -> bool:
    x1, y1, x2, y2 = line.box
    return x2 > x1 and y2 > y1
