"""How well and how fast `RapidOcr` reads, by source of picture, for several settings.

    python benchmarks/ocr_quality.py [--data ../shared/data]

Character / word error rates (definitions: curation/text_error.py) on the pictures as they are and shrunk to 512 pixels,
as DataComp's are. `boxes` is the share of legible scene words whose centre lies in a found line. Images/s counts the
processor time of the one thread in use. It takes about nine minutes.
"""

import argparse
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from curation.decode import DecodeLimits, RgbImage, decode
from curation.engines.rapidocr import RapidOcr, RapidOcrSettings
from curation.text_error import ErrorCounts, asserted_errors, outside, page_errors
from schemas.box import Box
from schemas.text_line import TextLine

SETTINGS = [(512, 1.0), (736, 3.0), (960, 2.0), (960, 3.0), (1280, 3.0)]  # detect_side, max_enlargement
FLOORS = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9)
SHRUNK = 512

Reading = dict[str, list[TextLine]]


@dataclass(frozen=True)
class Source:
    """A set of pictures, told by how their files are called, and how its truth is written."""

    name: str
    prefix: str
    ignore_case: bool = False
    spaces: bool = True


SOURCES = (
    Source("scene", "ocr/mmocr__img_"),  # ICDAR 2015: word boxes without text
    Source("receipt", "ocr/mmocr__1.jpeg", spaces=False),  # WildReceipt: written without spaces
    Source("receipt", "ocr/mmocr__2.jpeg", spaces=False),
    Source("word", "ocr/mmocr__"),  # IIIT5K: crops of one word
    Source("sroie", "ocr/ICDAR-2019-SROIE__", ignore_case=True),  # receipts, all in capitals in the truth
    Source("uw3", "ocr/calamari__"),  # lines of scanned pages
    Source("scripts", "ocr/RapidOCR__"),  # one asserted line each, many scripts, some not in these weights
)


def source_of(file: str) -> Source:
    return next(source for source in SOURCES if file.startswith(source.prefix))


def load(data: Path) -> list[tuple[dict[str, Any], RgbImage]]:
    """The pictures that have a ground truth, with it."""
    truths = [json.loads(line) for line in (data / "ground_truth/ocr.jsonl").read_text().splitlines()]
    return [(truth, decode((data / truth["file"]).read_bytes(), DecodeLimits())) for truth in truths]


def shrunk(image: RgbImage) -> RgbImage:
    factor = SHRUNK / max(image.shape[:2])
    if factor >= 1:
        return image
    size = [max(1, round(side * factor)) for side in (image.shape[1], image.shape[0])]
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def read_all(annotate: Callable[[RgbImage], list[TextLine]], images: dict[str, RgbImage]) -> tuple[Reading, float]:
    """Everything that is found, and pictures a second."""
    annotate(next(iter(images.values())))
    start = time.process_time()
    reading = {file: annotate(image) for file, image in images.items()}
    return reading, len(images) / (time.process_time() - start)


def score(truths: list[dict[str, Any]], reading: Reading, floor: float) -> tuple[dict[str, ErrorCounts], float]:
    """Error counts by source, and the share of scene words that lie in a found line."""
    errors: dict[str, ErrorCounts] = defaultdict(ErrorCounts)
    hits = []
    for truth in truths:
        boxes = [box_of(item, truth) for item in truth["items"]]
        ignored = [box for box, item in zip(boxes, truth["items"], strict=True) if item.get("ignore")]
        lines = outside((line for line in reading[truth["file"]] if line.confidence >= floor), ignored)
        source = source_of(truth["file"])
        if truth.get("boxes_only"):
            hits += [any(holds(line.box, box) for line in lines) for box in boxes if box not in ignored]
            continue
        wanted, found = [item["text"] for item in truth["items"]], [line.text for line in lines]
        if truth["complete"]:
            errors[source.name] += page_errors(wanted, found, ignore_case=source.ignore_case, spaces=source.spaces)
        else:
            errors[source.name] += asserted_errors(wanted, found, ignore_case=source.ignore_case)
    return errors, sum(hits) / len(hits)


def box_of(item: dict[str, Any], truth: dict[str, Any]) -> Box:
    x1, y1, x2, y2 = item["bbox"] or (0, 0, 0, 0)
    return x1 / truth["width"], y1 / truth["height"], x2 / truth["width"], y2 / truth["height"]


def holds(outer: Box, inner: Box) -> bool:
    x, y = (inner[0] + inner[2]) / 2, (inner[1] + inner[3]) / 2
    return outer[0] <= x <= outer[2] and outer[1] <= y <= outer[3]


def print_row(name: str, errors: dict[str, ErrorCounts], boxes: float, speed: float) -> None:
    rates = "  ".join(f"{counts.cer:.3f}/{counts.wer:.3f}" for _, counts in sorted(errors.items()))
    print(f"{name:32}  {rates}  {boxes:5.2f}  {speed:8.2f}", flush=True)


def print_head(title: str) -> None:
    names = sorted({source.name for source in SOURCES} - {"scene"})
    print(f"\n{title:32}  {'  '.join(f'{name:>11}' for name in names)}  boxes  images/s")


def engine(detect_side: int, max_enlargement: float) -> Callable[[RgbImage], list[TextLine]]:
    settings = RapidOcrSettings(detect_side=detect_side, max_enlargement=max_enlargement, min_confidence=0.0)
    reader = RapidOcr(settings)
    return lambda image: reader.annotate([image])[0]


def plain_rapidocr() -> Callable[[RgbImage], list[TextLine]]:
    """The same networks with rapidocr's own sizing: the short side enlarged to 736 pixels."""
    reader = RapidOcr(RapidOcrSettings(min_confidence=0.0, max_side=2000))
    del reader._reader._load_det_model().get_preprocess  # back to the method of its class
    return lambda image: reader.annotate([image])[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SHARDLOOM_DATA", "../shared/data")))
    pictures = load(parser.parse_args().data)
    truths = [truth for truth, _ in pictures]
    for title, size in (("pictures as they are", lambda image: image), (f"shrunk to {SHRUNK}", shrunk)):
        images = {truth["file"]: size(image) for truth, image in pictures}
        print_head(f"{title} (CER/WER)")
        for side, enlargement in SETTINGS:
            reading, speed = read_all(engine(side, enlargement), images)
            print_row(f"detect_side {side}, enlarge {enlargement:g}", *score(truths, reading, 0.5), speed)
            if (side, enlargement) == (960, 3.0):
                default, default_speed = reading, speed
        reading, speed = read_all(plain_rapidocr(), images)
        print_row("rapidocr's own sizing", *score(truths, reading, 0.5), speed)
        for floor in FLOORS:
            lines = sum(line.confidence >= floor for found in default.values() for line in found)
            print_row(f"960, 3, floor {floor}, {lines} lines", *score(truths, default, floor), default_speed)


if __name__ == "__main__":
    main()
