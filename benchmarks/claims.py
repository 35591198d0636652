"""Compares runs that claim shards from one another with one run on Ray that has as many workers. The engine sleeps.

    python -m benchmarks.claims [--runs 4] [--shards 48] [--samples 40] [--seconds 0.25]

Each of the `--runs` processes has a local Ray and one worker; the one run has that many workers. The engine logs each
image with its time. The rate counts from the moment when every worker has begun until the first has no more work, so
that the start of each Ray, which takes cores that a sleeping engine does not, and the last shards are left out. The
seconds of the whole command are printed too.
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from curation.engines.declaration import EngineDeclaration
from curation.engines.kinds import OCR
from curation.images.decode import RgbImage
from pipelines.demo.shards import write_shards
from schemas.output_set.options import Options
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.text_line import TextLine
from schemas.storage.folder import Folder

CHUNK = 8


class SleepSettings(Options):
    """Configures how long the engine sleeps for an image, and the log of its images."""

    seconds: float
    log: str


class SleepingOcr:
    """Finds no text, after sleeping; logs the process and the time of each image."""

    fingerprint = EngineFingerprint(name="sleep", version="1", weights_sha256="", settings={})

    def __init__(self, settings: SleepSettings) -> None:
        self.settings = settings

    def annotate(self, images: Sequence[RgbImage]) -> list[list[TextLine]]:
        """Returns no lines for each image."""
        for _ in images:
            time.sleep(self.settings.seconds)
            with Path(self.settings.log).open("a") as file:
                file.write(f"{os.getpid()} {time.time()}\n")
        return [[] for _ in images]


SLEEPING_OCR = EngineDeclaration(name="claims-ocr", kind=OCR, settings=SleepSettings, make=SleepingOcr)


@dataclass(frozen=True, slots=True)
class Measurement:
    """Holds the rate of all workers at work, in images per second, and the seconds of the whole command."""

    rate: float
    images: int  # that the rate is of
    seconds: float


def measure(folder: Path, images: str, runs: int, workers: int, seconds: float) -> Measurement:
    """Annotates the images by `runs` processes of `workers` workers each. Several claim their shards."""
    folder.mkdir()
    log = folder / "calls.log"
    settings = {"seconds": seconds, "log": str(log)}
    recipe = {
        "input": images,
        "engines": {"ocr": {"engine": "claims-ocr", "settings": settings, "batch_size": 4}},
        "chunk": {"samples": CHUNK},
        "run": {"output": str(folder / "out"), "workers": workers, "claim": runs > 1, "stall_seconds": 600},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    command = [sys.executable, "-m", "pipelines.annotate", str(path), "--trust-code", "benchmarks.claims:SLEEPING_OCR"]
    began = time.monotonic()
    processes = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(runs)]
    codes = [process.wait() for process in processes]
    assert codes == [0] * runs, codes
    rate, counted = compute_rate(log.read_text().splitlines(), runs * workers)
    return Measurement(rate, counted, time.monotonic() - began)


def compute_rate(lines: Sequence[str], workers: int) -> tuple[float, int]:
    """Returns the images per second while all workers were at work, and their number."""
    calls = sorted((process, float(when)) for process, when in (line.split() for line in lines))
    times = [[when for _, when in of] for _, of in itertools.groupby(calls, lambda call: call[0])]
    assert len(times) == workers, f"{len(times)} workers of {workers} had work: raise --shards"
    first, last = max(of[0] for of in times), min(of[-1] for of in times)
    counted = sum(first < when <= last for of in times for when in of)
    return counted / (last - first), counted


def main() -> None:
    """Prints both measurements and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--shards", type=int, default=48)
    parser.add_argument("--samples", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=0.25)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_shards(Folder(str(folder / "images")), options.shards * options.samples, options.samples)
        images = f"{folder}/images/*.tar"
        one = measure(folder / "one", images, 1, options.runs, options.seconds)
        claimed = measure(folder / "claimed", images, options.runs, 1, options.seconds)
    for title, found in (("one run", one), (f"{options.runs} runs that claim", claimed)):
        print(f"{title}: {found.rate:.2f} images/s over {found.images} images; {found.seconds:.0f} s with the start")
    ideal = options.runs / options.seconds
    print(f"ratio of the rates: {claimed.rate / one.rate:.3f}; of {ideal:g} images/s: {claimed.rate / ideal:.3f}")


if __name__ == "__main__":
    main()
