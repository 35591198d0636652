"""Measures how well and how fast `RapidOcr` reads, by source of picture, for several settings.

    python benchmarks/ocr_quality.py [--data ../shared/data]
    python benchmarks/ocr_quality.py --order [--pages FOLDER]

The first reports character / word error rates (definitions: curation/scores/text.py) on the pictures as they are and
shrunk to 512 pixels, as DataComp's are. `boxes` is the share of legible scene words whose centre is in a detected line.
Images/s counts the CPU time of the one thread in use. It takes about nine minutes.

The second reports the character error rates in order (`count_ordered_errors`) of both reading orders, at the default
settings, and how many pictures they read differently. Where the truth asserts only some lines, these may be anywhere.
It takes about a minute. `--pages` adds scanned pages with columns, each NAME.tif with its text in NAME.txt.
"""

import argparse
import os
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from curation.engines.ocr.rapidocr_settings import RapidOcrSettings
from curation.engines.ocr.runtime.rapidocr import RapidOcr
from curation.engines.ocr.runtime.text_lines import order_lines
from curation.images.decode import DecodeLimits, RgbImage, decode
from curation.scores.text import ErrorCounts, count_ordered_errors, count_picture_errors
from schemas.records.ground_truth import COLLECTIONS, TextTruth, TrueText, read_text_truth
from schemas.records.text_line import TextLine

SETTINGS = [(512, 1.0), (736, 3.0), (960, 2.0), (960, 3.0), (1280, 3.0)]  # detect_side, max_enlargement
FLOORS = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9)
SHRUNK = 512
SCENE = "scene"  # its ground truth is boxes without text
NAMES = sorted({collection.name for collection in COLLECTIONS} - {SCENE})

Reading = dict[str, list[TextLine]]


def load(data: Path) -> list[tuple[TextTruth, RgbImage]]:
    """Returns the pictures that have a ground truth, with it."""
    path = data / "ground_truth/ocr.jsonl"
    truths = read_text_truth(path.read_bytes(), str(path))
    return [(truth, decode((data / truth.file).read_bytes(), DecodeLimits())) for truth in truths]


def shrunk(image: RgbImage) -> RgbImage:
    """Returns the image with a longer side of at most `SHRUNK` pixels."""
    factor = SHRUNK / max(image.shape[:2])
    if factor >= 1:
        return image
    size = [max(1, round(side * factor)) for side in (image.shape[1], image.shape[0])]
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def read_all(annotate: Callable[[RgbImage], list[TextLine]], images: dict[str, RgbImage]) -> tuple[Reading, float]:
    """Returns all lines found, and pictures per second of CPU time."""
    annotate(next(iter(images.values())))
    start = time.process_time()
    reading = {file: annotate(image) for file, image in images.items()}
    return reading, len(images) / (time.process_time() - start)


def score(truths: list[TextTruth], reading: Reading, floor: float) -> dict[str, ErrorCounts]:
    """Counts errors by collection, over lines of confidence `floor` or more."""
    errors: dict[str, ErrorCounts] = defaultdict(ErrorCounts)
    for truth in truths:
        lines = [line for line in reading[truth.file] if line.confidence >= floor]
        errors[truth.collection.name] += count_picture_errors(truth, lines)
    return errors


def print_row(name: str, errors: dict[str, ErrorCounts], speed: float) -> None:
    """Prints a row of rates, the share of scene words found, and the speed."""
    scene = errors[SCENE]
    rates = "  ".join(f"{errors[name].cer:.3f}/{errors[name].wer:.3f}" for name in NAMES)
    print(f"{name:32}  {rates}  {scene.places_found / scene.places:5.2f}  {speed:8.2f}", flush=True)


def print_head(title: str) -> None:
    """Prints the head of a table."""
    print(f"\n{title:32}  {'  '.join(f'{name:>11}' for name in NAMES)}  boxes  images/s")


def engine(detect_side: int, max_enlargement: float) -> Callable[[RgbImage], list[TextLine]]:
    """Returns a function that reads an image with these settings."""
    settings = RapidOcrSettings(detect_side=detect_side, max_enlargement=max_enlargement, min_confidence=0.0)
    reader = RapidOcr(settings)
    return lambda image: reader.annotate([image])[0]


def plain_rapidocr() -> Callable[[RgbImage], list[TextLine]]:
    """Returns a function that reads with rapidocr's own sizing, which enlarges the short side to 736 pixels."""
    reader = RapidOcr(RapidOcrSettings(min_confidence=0.0, max_side=2000))
    del reader._reader._load_det_model().get_preprocess  # restores the method of its class
    return lambda image: reader.annotate([image])[0]


def load_pages(folder: Path) -> list[tuple[TextTruth, RgbImage]]:
    """Returns the scanned pages of a folder, each with its text."""
    pages = []
    for path in sorted(folder.glob("*.tif")):
        image = decode(path.read_bytes(), DecodeLimits())
        text = TrueText(text=path.with_suffix(".txt").read_text("utf-8", "replace"))
        height, width = image.shape[:2]
        page = {"file": path.name, "width": width, "height": height, "items": [text], "complete": True, "kind": "page"}
        pages.append((TextTruth.model_validate(page), image))
    return pages


def count_errors_in_order(truth: TextTruth, lines: list[TextLine]) -> ErrorCounts:
    """Counts errors in reading order, or anywhere where the truth is not complete."""
    if not truth.complete:
        return count_picture_errors(truth, lines)
    ignore_case, spaces = truth.case_insensitive or truth.collection.ignore_case, truth.collection.spaces
    return count_ordered_errors(truth.texts, [line.text for line in lines], ignore_case=ignore_case, spaces=spaces)


def print_orders(pictures: list[tuple[TextTruth, RgbImage]], title: str) -> None:
    """Prints the character error rate of each collection in both orders."""
    reader = RapidOcr()
    counts: dict[str, list[ErrorCounts]] = defaultdict(lambda: [ErrorCounts(), ErrorCounts()])
    changed: dict[str, int] = defaultdict(int)
    for truth, image in pictures:
        [columns] = reader.annotate([image])
        lines = order_lines(columns, (image.shape[1], image.shape[0]), "lines")
        name = truth.collection.name
        changed[name] += columns != lines
        for at, found in enumerate((lines, columns)):
            counts[name][at] += count_errors_in_order(truth, found)
    print(f"\n{title:24}  characters  lines  columns  pictures that differ")
    for name, (lines, columns) in sorted(counts.items()):
        print(f"{name:24}  {lines.characters:10}  {lines.cer:.3f}    {columns.cer:.3f}  {changed[name]:20}", flush=True)


def main() -> None:
    """Reads the command line and prints a table for both sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SHARDLOOM_DATA", "../shared/data")))
    parser.add_argument("--order", action="store_true", help="compare the reading orders")
    parser.add_argument("--pages", type=Path, help="with --order: a folder of scanned pages")
    options = parser.parse_args()
    pictures = load(options.data)
    if options.order:
        pictures += load_pages(options.pages) if options.pages else []
        print_orders(pictures, "CER as they are")
        print_orders([(truth, shrunk(image)) for truth, image in pictures], f"CER shrunk to {SHRUNK}")
        return
    truths = [truth for truth, _ in pictures]
    for title, size in (("pictures as they are", lambda image: image), (f"shrunk to {SHRUNK}", shrunk)):
        images = {truth.file: size(image) for truth, image in pictures}
        print_head(f"{title} (CER/WER)")
        for side, enlargement in SETTINGS:
            reading, speed = read_all(engine(side, enlargement), images)
            print_row(f"detect_side {side}, enlarge {enlargement:g}", score(truths, reading, 0.5), speed)
            if (side, enlargement) == (960, 3.0):
                default, default_speed = reading, speed
        reading, speed = read_all(plain_rapidocr(), images)
        print_row("rapidocr's own sizing", score(truths, reading, 0.5), speed)
        for floor in FLOORS:
            lines = sum(line.confidence >= floor for found in default.values() for line in found)
            print_row(f"960, 3, floor {floor}, {lines} lines", score(truths, default, floor), default_speed)


if __name__ == "__main__":
    main()
