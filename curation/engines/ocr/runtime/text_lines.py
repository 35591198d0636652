"""Does what OCR engines share before and after reading: resizes pictures, makes lines from polygons, orders lines."""

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

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
    texts: Iterable[str], polygons: NDArray[np.float64], confidences: Iterable[float], size: tuple[int, int]
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
    return sort_in_reading_order(line for line in lines if line.text and _has_area(line))


def sort_in_reading_order(lines: Iterable[TextLine]) -> list[TextLine]:
    """Sorts lines into rows from top to bottom, each from left to right. The order of the input does not matter.

    A line belongs to the row above it if its centre is at most half a height (of the lower of the two) below the centre
    of that row's topmost line.
    """
    rows: list[list[TextLine]] = []
    for line in sorted(lines, key=lambda line: (line.box[1] + line.box[3], line.box, line.text)):
        if rows and _is_in_row(line, rows[-1][0]):
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda line: (line.box, line.text))]


def _build_line(text: str, polygon: NDArray[np.float64], confidence: float) -> TextLine:
    (x1, y1), (x2, y2) = polygon.min(axis=0).tolist(), polygon.max(axis=0).tolist()
    a, b, c, d, e, f, g, h = polygon.ravel().tolist()
    return TextLine(text, (a, b, c, d, e, f, g, h), (x1, y1, x2, y2), confidence)


def _has_area(line: TextLine) -> bool:
    x1, y1, x2, y2 = line.box
    return x2 > x1 and y2 > y1


def _is_in_row(line: TextLine, first: TextLine) -> bool:
    distance = (line.box[1] + line.box[3] - first.box[1] - first.box[3]) / 2
    return distance <= min(line.box[3] - line.box[1], first.box[3] - first.box[1]) / 2
