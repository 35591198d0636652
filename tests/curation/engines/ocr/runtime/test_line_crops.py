"""A line is cut as RapidOCR cuts it for its recogniser, so that reading it again gives the same."""

import cv2
import numpy as np
import pytest
from rapidocr.utils.process_img import get_rotate_crop_image

from curation.engines.ocr.runtime.line_crops import LARGEST, cut_line
from curation.engines.ocr.runtime.text_lines import resize_within
from curation.images.decode import RgbImage


def noise(width: int, height: int) -> RgbImage:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def store(corners: list[tuple[int, int]], size: tuple[int, int]) -> list[float]:
    """The fractions that an annotation set holds, in single precision."""
    return (np.array(corners, np.float64) / size).astype(np.float32).ravel().tolist()


CORNERS = {
    "level": [(20, 30), (220, 30), (220, 61), (20, 61)],
    "tilted": [(31, 77), (211, 33), (219, 66), (39, 110)],
    "in perspective": [(5, 5), (233, 17), (230, 70), (9, 44)],
    "downwards": [(40, 10), (69, 10), (69, 150), (40, 150)],
    "just downwards": [(40, 10), (101, 10), (101, 102), (40, 102)],
    "almost downwards": [(40, 10), (101, 10), (101, 100), (40, 100)],
    "to the edges": [(0, 0), (322, 0), (322, 216), (0, 216)],
}


@pytest.mark.parametrize("name", CORNERS)
def test_the_same_pixels_as_those_that_rapidocr_reads(name: str) -> None:
    image = noise(323, 217)  # sides that no fraction in single precision divides
    read = get_rotate_crop_image(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), np.array(CORNERS[name], np.float32))
    cut = cut_line(image, store(CORNERS[name], (323, 217)))
    assert np.array_equal(cut, read[:, :, ::-1])
    assert (cut.shape[1] > cut.shape[0]) is (name != "almost downwards")


def test_a_larger_picture_is_reduced_first() -> None:
    image, corners = noise(600, 400), [(30, 40), (170, 45), (169, 71), (29, 66)]
    small = resize_within(image, 300)
    read = get_rotate_crop_image(cv2.cvtColor(small, cv2.COLOR_RGB2BGR), np.array(corners, np.float32))
    assert np.array_equal(cut_line(image, store(corners, (300, 200)), 300), read[:, :, ::-1])


@pytest.mark.parametrize(
    ("polygon", "shape"),
    [
        ((0.5, 0.5) * 4, (1, 1, 3)),  # a point
        ((0.25, 0.5, 0.75, 0.5, 0.75, 0.5, 0.25, 0.5), (1, 50, 3)),  # a line without a height
        ((-9.0, -9.0, 9.0, -9.0, 9.0, 9.0, -9.0, 9.0), (60, 100, 3)),  # the whole picture
    ],
)
def test_places_that_no_engine_gives(polygon: tuple[float, ...], shape: tuple[int, ...]) -> None:
    assert cut_line(noise(100, 60), polygon).shape == shape


def test_a_picture_that_is_wider_than_opencv_takes() -> None:
    cut = cut_line(np.zeros((40, LARGEST + 100, 3), np.uint8), (0.0, 0.0, 0.001, 0.0, 0.001, 1.0, 0.0, 1.0))
    assert cut.shape == (40, 32, 3)
