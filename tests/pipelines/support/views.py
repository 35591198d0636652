"""Annotation sets for pages: with the columns of all four kinds of engines, and pictures that compress badly."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from curation.engines.stages import get_stage_column
from schemas.records.box import BOXES_COLUMN, Detection, detection_to_arrow
from schemas.records.tag import TAGS_COLUMN, Tag, tag_to_arrow
from schemas.records.text_line import OCR_COLUMN, TextLine, line_to_arrow
from tests.conftest import jpeg
from tests.pipelines.support.captions import written
from tests.pipelines.support.sets import annotated, write_samples

DOG = Detection("dog", "dog", (0.1, 0.2, 0.3, 0.4), 0.9)
SIGN = TextLine("STOP", (0.5, 0.5, 0.9, 0.55, 0.9, 0.75, 0.5, 0.7), (0.5, 0.5, 0.9, 0.75), 0.8)
DENSE = 'A dog sits near a sign that says "STOP". Two dogs run. A cat sleeps.'


def make_set(folder: Path, texts: list[str], lines: Any = None) -> Path:
    """Annotations of one picture for each alt text, by all four kinds of engines, and one image that is none."""
    samples = [(f"{number:012d}", jpeg(number), text, {"uid": f"u{number}"}) for number, text in enumerate(texts)]
    write_samples(folder / "images/00000000.tar", samples)
    tags = [Tag("dog", 1.0, "caption", 0, 3), Tag("cat", 0.7, "image")]
    return annotated(
        str(folder / "images/*.tar"),
        folder / "annotations",
        {
            "ocr": (OCR_COLUMN, lines or (lambda _: [line_to_arrow(SIGN)])),
            "tags": (TAGS_COLUMN, lambda _: [tag_to_arrow(tag) for tag in tags]),
            "boxes": (BOXES_COLUMN, lambda _: [detection_to_arrow(DOG)]),
            "captions.dense": (get_stage_column("captions.dense"), lambda _: written(DENSE)),
        },
    )


def noise(seed: int, width: int, height: int) -> bytes:
    """A picture that compresses badly."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    return file.getvalue()
