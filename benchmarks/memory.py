"""Measures the peak memory of a whole run without its engines' own, for inputs of any size.

    python -m benchmarks.memory [--megabytes 250 2000] [--engines ocr | ocr,tags,boxes]

It sums the proportional set sizes of every process of the run (driver, Ray's own, reader, workers, writer) and of the
object store, four times a second. The engines do nothing, so that chunks move as fast as they can: the worst case for
data in flight. Several engines share decoded pixels, which travel from pool to pool.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import yaml

from benchmarks.processes import held
from curation.engines.declaration import EngineDeclaration
from curation.engines.kinds import BOXES, OCR
from curation.images.decode import RgbImage
from pipelines.demo.pictures import draw_picture
from schemas.output_set.options import Options
from schemas.records.box import Detection
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.text_line import TextLine
from schemas.tar.writer import TarWriter

SAMPLE_SECONDS = 0.25
SHARD_BYTES = 125 << 20
IMAGE_BYTES = 130_000  # the mean size of web JPEGs: a drawn picture, and zeros after its end marker


class NullOcr:
    """Finds no text."""

    def __init__(self, _: Options) -> None:
        self.fingerprint = EngineFingerprint(name="null", version="1", weights_sha256="", settings={})

    def annotate(self, images: Sequence[RgbImage]) -> list[list[TextLine]]:
        """Returns no lines for each image."""
        return [[] for _ in images]


class NullBoxes:
    """Finds no boxes."""

    def __init__(self, _: Options) -> None:
        self.fingerprint = EngineFingerprint(name="null", version="1", weights_sha256="", settings={})

    def annotate(self, images: Sequence[RgbImage], names: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """Returns no detections for each image."""
        return [[] for _ in images]


NULL_OCR = EngineDeclaration(name="null-ocr", kind=OCR, settings=Options, make=NullOcr)
NULL_BOXES = EngineDeclaration(name="null-boxes", kind=BOXES, settings=Options, make=NullBoxes)

TRUSTED = ["--trust-code", "benchmarks.memory:NULL_OCR", "--trust-code", "benchmarks.memory:NULL_BOXES"]
ENGINES = {
    "ocr": {"engine": "benchmarks.memory:NULL_OCR"},
    "tags": {"engine": "caption"},
    "boxes": {"engine": "benchmarks.memory:NULL_BOXES"},
}


def write_shards(folder: Path, total: int) -> None:
    """Writes shards of `total` bytes in all, at least one."""
    pictures = [draw_picture(0, index).jpeg.ljust(IMAGE_BYTES, b"\0") for index in range(32)]
    for shard in range(max(1, total // SHARD_BYTES)):
        with (folder / f"{shard:08d}.tar").open("wb") as file:
            writer = TarWriter(file)
            number = 0
            while writer.size < SHARD_BYTES:
                key = f"{shard:08d}{number:04d}"
                writer.add(f"{key}.jpg", pictures[number % len(pictures)])
                writer.add(f"{key}.json", f'{{"uid": "{key}"}}'.encode())
                number += 1
            writer.close()


def peak(folder: Path, workers: int, engines: str) -> tuple[int, float]:
    """Runs one annotate command; returns its peak bytes and its seconds."""
    recipe = {"input": f"{folder}/*.tar", "engines": {kind: ENGINES[kind] for kind in engines.split(",")}}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    arguments = [f"{folder}/recipe.yaml", "--output", f"{folder}/out", "--workers", str(workers), "--json", *TRUSTED]
    command = [sys.executable, "-m", "pipelines.annotate", *arguments]
    started = time.monotonic()
    process = psutil.Process(subprocess.Popen(command, stdout=subprocess.DEVNULL).pid)
    most = 0
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        most = max(most, sum(each.private + each.shared for each in held(process)))
        time.sleep(SAMPLE_SECONDS)
    return most, time.monotonic() - started


def main() -> None:
    """Reads the command line and prints the peak for each input size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, nargs="+", default=[250, 2000])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--engines", default="ocr")
    options = parser.parse_args()
    for megabytes in options.megabytes:
        with tempfile.TemporaryDirectory() as name:
            write_shards(Path(name), megabytes << 20)
            most, seconds = peak(Path(name), options.workers, options.engines)
        print(f"{options.engines}, {megabytes:>6} MB of shards: peak {most / 1e9:.2f} GB, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
