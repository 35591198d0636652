"""Cuts a line of text out of a picture as RapidOCR cuts it for its recogniser, so that the line can be read again.

RapidOCR straightens the four corners that the detector has found, and turns what runs downwards, by its function
`get_rotate_crop_image`. From the same pixels, the same weights read the same text with the same confidence. In the
rectangle around a line they may read another text or none: it has other pixels where the line is tilted, and lies on
its side where the line runs downwards.

RapidOCR puts black bars above and below a picture that is more than eight times as wide as high. A line that reaches
into these bars is cut without them here.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from curation.engines.ocr.runtime.text_lines import resize_within
from curation.images.decode import RgbImage

DOWNWARDS = 1.5  # times as high as wide: such a line is turned by a quarter, counterclockwise
LARGEST = 2**15 - 2  # pixels of a side that OpenCV warps


def cut_line(image: RgbImage, polygon: Sequence[float], max_side: int = LARGEST) -> NDArray[np.uint8]:
    """Returns the line between four corners x, y as the recogniser gets it, in RGB.

    The corners are fractions of the picture, clockwise from the text's top left. `max_side` is that of the engine's
    settings, to which it reduces a larger picture before it looks for lines.
    """
    picture = resize_within(image, min(max_side, LARGEST))
    height, width = picture.shape[:2]
    # detectors give whole pixels, from which fractions in single precision are off by less than a thousandth
    places = np.clip(np.asarray(polygon, np.float64).reshape(4, 2), 0.0, 1.0) * (width, height)
    corners = np.round(places, 2).astype(np.float32)
    across = _measure(corners, (0, 1), (2, 3))
    down = _measure(corners, (0, 3), (1, 2))
    straight = np.array([(0, 0), (across, 0), (across, down), (0, down)], np.float32)
    matrix = cv2.getPerspectiveTransform(corners, straight)
    line = cv2.warpPerspective(picture, matrix, (across, down), borderMode=cv2.BORDER_REPLICATE, flags=cv2.INTER_CUBIC)
    return np.ascontiguousarray(np.rot90(line) if down / across >= DOWNWARDS else line)


def _measure(corners: NDArray[np.float32], *sides: tuple[int, int]) -> int:
    """Returns the length of the longer one of two sides in whole pixels, at least one."""
    return max(1, int(max(np.linalg.norm(corners[first] - corners[last]) for first, last in sides)))
