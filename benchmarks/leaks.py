"""Measures what `evaluate model --leaks` finds of planted copies, by what was done to them, and how fast it is.

    OPENBLAS_NUM_THREADS=1 python -m benchmarks.leaks [--data DIR] [--images 60]

Half of the photos and pages of the sample data, every second one, are the questions of a task. Their copies, changed
in one way, are a training set together with the other half, changed in the same way. Of texts, the questions are
sentences of the sample data's documents, and the copies stand between other sentences; short ones, of 3 to 7 words
in one line, are tried apart, on lines of their own and in a line. A pair is right if it is of a question and its copy.
Files with equal pixels are taken once; the wrong pairs are printed, for they may be copies that nobody planted.
"""

import argparse
import io
import os
import random
import re
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image, ImageFilter, ImageOps

from curation.images.decode import DecodeLimits, RgbImage, decode
from curation.leaks.finder import ComparedSample, LeakFinder
from curation.leaks.hash_index import HashIndex
from curation.leaks.texts import WORDS
from schemas.records.quarantine import Rejected

BATCH = 32
SHOWN = 2  # wrong pairs of each kind that are printed
SMALL = 100  # pixels of the shorter side, below which an image is left out
SIDE = 512  # pixels of the longer side, as of DataComp's images
ImageChange = Callable[[Image.Image, random.Random], Image.Image]
TextChange = Callable[[str, random.Random], str]
Row = tuple[str, int, int, int, list[tuple[str, str]]]
"""What was done, planted copies, those found, all pairs found, and the wrong ones."""


def reduce(image: Image.Image, _: random.Random) -> Image.Image:
    """Reduces the image to half of its sides."""
    return image.resize((max(1, image.width // 2), max(1, image.height // 2)), Image.Resampling.BICUBIC)


def recompress(quality: int) -> ImageChange:
    """Makes a change to JPEG of this quality."""

    def change(image: Image.Image, _: random.Random) -> Image.Image:
        return Image.open(io.BytesIO(encode(image, quality)))

    return change


def crop(share: float) -> ImageChange:
    """Makes a change that leaves out this share of each side, more on one side than on the other at random."""

    def change(image: Image.Image, rng: random.Random) -> Image.Image:
        left, top = (rng.random() * share * side for side in image.size)
        right, bottom = left + image.width * (1 - share), top + image.height * (1 - share)
        return image.crop(
            (round(left), round(top), max(round(left) + 1, round(right)), max(round(top) + 1, round(bottom)))
        )

    return change


def crop_small_mirror(image: Image.Image, rng: random.Random) -> Image.Image:
    """Crops by 5 %, halves, mirrors, and recompresses."""
    return recompress(75)(ImageOps.mirror(reduce(crop(0.05)(image, rng), rng)), rng)


IMAGE_CHANGES: dict[str, ImageChange] = {
    "same": lambda image, _: image,
    "half the sides": reduce,
    "JPEG, quality 50": recompress(50),
    "JPEG, quality 20": recompress(20),
    "cropped by 2 % of the sides": crop(0.02),
    "cropped by 5 %": crop(0.05),
    "cropped by 10 %": crop(0.1),
    "mirrored": lambda image, _: ImageOps.mirror(image),
    "cropped by 5 %, halved, mirrored, JPEG 75": crop_small_mirror,
    "grey": lambda image, _: image.convert("L"),
    "blurred by 2 pixels": lambda image, _: image.filter(ImageFilter.GaussianBlur(2)),
    "upside down": lambda image, _: ImageOps.flip(image),
    "turned by 90 degrees": lambda image, _: image.transpose(Image.Transpose.ROTATE_90),
}


def replace_words(share: float) -> TextChange:
    """Makes a change that replaces this share of the words."""

    def change(text: str, rng: random.Random) -> str:
        return " ".join("other" if rng.random() < share else word for word in text.split())

    return change


TEXT_CHANGES: dict[str, TextChange] = {
    "same": lambda text, _: text,
    "capitals": lambda text, _: text.upper(),
    "without punctuation": lambda text, _: re.sub(r"[^\w\s]", "", text),
    "other white space": lambda text, _: "\n\n ".join(text.split()),
    "last fifth missing": lambda text, _: " ".join(text.split()[: -(len(text.split()) // 5) or None]),
    "one word in 50 replaced": replace_words(0.02),
    "one word in 10 replaced": replace_words(0.1),
}


SHORT_CHANGES: dict[str, TextChange] = {
    "same": lambda text, _: text,
    "capitals": lambda text, _: text.upper(),
    "without punctuation": lambda text, _: re.sub(r"[^\w\s]", "", text),
    "other white space": lambda text, _: "  ".join(text.split()),
    "one word missing": lambda text, rng: " ".join(omit_word(text.split(), rng)),
}


def omit_word(words: list[str], rng: random.Random) -> list[str]:
    """Returns the words without one of them."""
    place = rng.randrange(len(words))
    return words[:place] + words[place + 1 :]


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SHARDLOOM_DATA", "data")))
    parser.add_argument("--images", type=int, default=60, help="of the photos and pages, spread evenly")
    options = parser.parse_args()
    photos = read_images(options.data, options.images)
    sentences = read_sentences(options.data)
    short = [one for one in read_sentences(options.data, 3, 7) if "\n" not in one]
    for what, rows in (
        ("image", (measure_images(name, change, photos) for name, change in IMAGE_CHANGES.items())),
        ("text", (measure_texts(name, change, sentences) for name, change in TEXT_CHANGES.items())),
        ("short text", (measure_texts(name, change, short, "\n") for name, change in SHORT_CHANGES.items())),
        ("short text in a line", [measure_texts("same", TEXT_CHANGES["same"], short)]),
    ):
        print_table(what, rows)
    print("\n".join(measure_speed(photos, sentences)))


def read_images(data: Path, count: int) -> dict[str, RgbImage]:
    """Reads photos and pages without repeated and small ones, such as single words, and reduces large ones."""
    found: dict[bytes, tuple[str, RgbImage]] = {}
    for path in sorted([*(data / "photos").iterdir(), *(data / "ocr").iterdir()]):
        try:
            pixels = decode(path.read_bytes(), DecodeLimits())
        except Rejected:
            continue
        if min(pixels.shape[:2]) < SMALL:
            continue
        image = Image.fromarray(pixels)
        image.thumbnail((SIDE, SIDE))
        found.setdefault(pixels.tobytes(), (path.name, np.asarray(image)))
    images = list(found.values())
    return dict(images[:: max(1, len(images) // count)])


def read_sentences(data: Path, least: int = 12, most: int = 60) -> list[str]:
    """Reads sentences of so many words from interleaved documents, without repeated ones."""
    found: dict[str, None] = {}
    for path in sorted(
        [*(data / "interleaved/mint_html").glob("*.parquet"), *(data / "interleaved/obelics").glob("*.parquet")]
    ):
        for texts in pq.read_table(path, columns=["texts"])["texts"].to_pylist():
            for text in filter(None, texts):
                found |= dict.fromkeys(
                    one for one in re.split(r"(?<=[.!?])\s+", text) if least <= len(one.split()) <= most
                )
    return list(found)


def encode(image: Image.Image, quality: int = 95) -> bytes:
    """Returns the image as JPEG."""
    data = io.BytesIO()
    image.convert("RGB").save(data, "JPEG", quality=quality)
    return data.getvalue()


def measure_images(name: str, change: ImageChange, photos: dict[str, RgbImage]) -> Row:
    """Looks for the changed copies of every second image."""
    rng, names = random.Random(name), list(photos)
    samples = [ComparedSample(one, [encode(change(Image.fromarray(photos[one]), rng))], "") for one in names]
    asked = names[::2]
    finder = LeakFinder(([photos[one]], []) for one in asked)
    return count_pairs(name, finder, samples, asked, sum(question.has_images for question in finder.questions))


def measure_texts(name: str, change: TextChange, sentences: list[str], between: str = " ") -> Row:
    """Looks for the changed copies of every second sentence, each between two of the others."""
    rng, others = random.Random(name), sentences[1::2]
    asked = sentences[::2]
    samples = [
        ComparedSample(one, [], between.join([rng.choice(others), change(one, rng), rng.choice(others)]))
        for one in asked
    ]
    samples += [ComparedSample(one, [], change(one, rng)) for one in others]
    finder = LeakFinder(([], [one]) for one in asked)
    return count_pairs(name, finder, samples, asked, sum(question.has_texts for question in finder.questions))


def count_pairs(name: str, finder: LeakFinder, samples: Sequence[ComparedSample], asked: Sequence[str], of: int) -> Row:
    """Counts what is found; `of` is the number of questions that can be compared."""
    for start in range(0, len(samples), BATCH):
        finder.look_at("", samples[start : start + BATCH])
    pairs = [(key, leak.key) for key, one in zip(asked, finder.questions, strict=True) for leak in one.leaks]
    wrong = [pair for pair in pairs if pair[0] != pair[1]]
    return name, of, len(pairs) - len(wrong), len(pairs), wrong


def print_table(what: str, rows: Iterable[Row]) -> None:
    """Prints a Markdown table, each row when it is measured, and then the wrong pairs."""
    print(f"| {what} | planted | recall | precision |\n|---|---|---|---|")
    faults = []
    for name, of, found, pairs, wrong in rows:
        print(f"| {name} | {of} | {found / of:.1%} | {f'{found / pairs:.1%}' if pairs else '-'} |", flush=True)
        faults += [f"wrong pair, {name}: {pair[0][:80]!r} = {pair[1][:80]!r}" for pair in wrong[:SHOWN]]
    print("\n".join([*faults, ""]))


def measure_speed(photos: dict[str, RgbImage], sentences: list[str]) -> list[str]:
    """Returns lines on the rates of samples, and on look-ups among ever more hashes."""
    files = [encode(Image.fromarray(pixels)) for pixels in photos.values()]
    finder = LeakFinder(([pixels], []) for pixels in photos.values())
    began = time.perf_counter()
    for start in range(0, len(files), BATCH):
        finder.look_at("", [ComparedSample("", [data], "") for data in files[start : start + BATCH]])
    lines = [f"{len(files) / (time.perf_counter() - began):.0f} images/s, decoded, hashed and looked up"]
    texts = LeakFinder(([], [one]) for one in sentences)
    began, text = time.perf_counter(), " ".join(sentences)
    texts.look_at("", [ComparedSample("", [], text)] * 10)
    words = 10 * len(text.split())
    lines.append(f"{words / (time.perf_counter() - began) / 1e6:.2f} million words/s, in sequences of {WORDS}")
    rng = np.random.default_rng(0)
    queries = rng.integers(0, 2**64, (1000, 4), dtype=np.uint64)
    for size in (10_000, 100_000, 1_000_000):
        index = HashIndex(rng.integers(0, 2**64, (size, 4), dtype=np.uint64))
        began = time.perf_counter()
        index.find(queries)
        lines.append(f"{1000 / (time.perf_counter() - began):,.0f} look-ups/s among {size:,} random hashes")
    return lines


if __name__ == "__main__":
    main()
