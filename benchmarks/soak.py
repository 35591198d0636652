"""Checks in a long run on small images that memory, processes, open files and stored objects do not grow or leak.

    python -m benchmarks.soak [--images 20000] [--workers 2] [--drivers 1] [--recycle 2000] [--scratch FOLDER]
                             [--samples FILE]

It runs the real command, OCR and tags on a local cluster, in a process of its own, and samples all its processes every
few seconds. Warm-up ends when a tenth of the images is done; then the most of the first quarter of the time is
compared with that of the last. The check fails (exit 1) if memory, processes, files or threads grow by more than a
tenth, or if anything is left at the end. Shards are made once per scratch folder; the same number of images gives the
same bytes.
"""

import argparse
import csv
import io
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml
from PIL import Image, ImageDraw, ImageFont

from benchmarks.processes import DRIVER, RAY, WORKER, Held, ObjectStore, held, is_alive, shared_memory_files
from pipelines.cluster.start_turn import NAME
from pipelines.demo.sheet import CITIES
from pipelines.output.totals import read_times
from pipelines.verify.run import verify
from schemas.storage.folder import Folder
from schemas.tar.writer import TarWriter

SHARD = 1000  # images
CHUNK = 64  # images; many chunks show what is kept for each of them
DETECT_SIDE = 160  # pixels: 27 ms of a core per image, so that 20,000 take two cores five minutes
WARM_UP = 0.1  # share of the images
MOST_GROWTH = 0.1  # from the first quarter to the last
GONE_SECONDS = 20.0  # timeout for processes to end after the command

MEMORY = ("driver", "workers", "ray", "shared", "total")
"""The measurements in bytes; the others are counts."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Holds the state of all processes at one moment."""

    seconds: float  # since the start
    images: int
    driver: int
    workers: int
    ray: int
    shared: int  # pages of the object store that have been used
    total: int
    processes: int
    files: int
    threads: int
    objects: int  # in the object store
    object_bytes: int


def draw(number: int) -> tuple[bytes, str]:
    """Draws a small JPEG, usually of a word, and its caption, both set by the number. Sizes vary, as on the web."""
    chance = random.Random(number)
    picture = Image.new("RGB", (chance.randint(96, 160), chance.randint(48, 96)), chance.choice(["#fdf6e3", "#cfe8d5"]))
    word = chance.choice(CITIES) if number % 3 else ""
    ImageDraw.Draw(picture).text((8, 8), word.upper(), "#1b263b", ImageFont.load_default(chance.randint(16, 24)))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90)
    return file.getvalue(), f"A shop sign in {word}, with dog and bicycle {number}"


def write_shards(folder: Path, images: int) -> None:
    """Writes shards of `SHARD` images; keeps shards that exist."""
    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, images, SHARD):
        path = folder / f"{first // SHARD:08d}.tar"
        if path.exists():
            continue
        with path.with_suffix(".tmp").open("wb") as file:
            writer = TarWriter(file)
            for number in range(first, min(first + SHARD, images)):
                jpeg, caption = draw(number)
                writer.add(f"{number:09d}.jpg", jpeg)
                writer.add(f"{number:09d}.txt", caption.encode())
                writer.add(f"{number:09d}.json", f'{{"uid": "{number:032x}"}}'.encode())
            writer.close()
        path.with_suffix(".tmp").rename(path)


class Soak:
    """Runs the command once, and watches it."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder, self.options = folder, options
        self.output, self.log = folder / "annotations", folder / "log"
        self.seen: dict[tuple[int, float], Held] = {}
        self.held: list[list[Held]] = []  # of each sample
        self.shared_files: set[str] = set()
        self.store: ObjectStore | None = None

    def run(self, shards: Path) -> tuple[list[Sample], int]:
        """Runs the command; returns the samples and the exit code."""
        run: dict[str, Any] = {"workers": self.options.workers, "drivers": self.options.drivers}
        if self.options.recycle:
            run["recycle_images"] = self.options.recycle
        recipe = {
            "input": [str(shards / f"{number:08d}.tar") for number in range(-(-self.options.images // SHARD))],
            "engines": {
                "ocr": {"engine": "rapidocr", "settings": {"detect_side": DETECT_SIDE}},
                "tags": {"engine": "caption"},
            },
            "chunk": {"samples": CHUNK},
            "run": run,
        }
        (self.folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        (self.folder / "tmp").mkdir()
        recipe_file = f"{self.folder}/recipe.yaml"
        command = [sys.executable, "-m", "pipelines.annotate", recipe_file, "--output", self.output]
        os.environ["RAY_AUTH_MODE"] = "disabled"  # for the command, and for this process, which queries its raylet
        temporary = {"RAY_TMPDIR": str(self.folder), "TMPDIR": str(self.folder / "tmp")}
        started, samples = time.monotonic(), []
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **temporary, "PYTHONPATH": str(Path.cwd())},
            )
            root = psutil.Process(process.pid)
            while process.poll() is None:
                if sample := self.sample(root, time.monotonic() - started):
                    samples.append(sample)
                    if len(samples) % 12 == 0:
                        print(line(sample), flush=True)
                time.sleep(self.options.seconds)
        return samples, process.returncode

    def sample(self, root: psutil.Process, seconds: float) -> Sample | None:
        """Measures what all processes hold now; None if they have just ended."""
        processes = held(root)
        if not processes:
            return None
        self.seen |= {(process.pid, process.began): process for process in processes}
        self.shared_files |= shared_memory_files(processes)
        self.held.append(processes)
        private = {role: sum(at.private for at in processes if at.role == role) for role in (DRIVER, WORKER, RAY)}
        shared = sum(process.shared for process in processes)
        images = self.images()
        self.store = self.store or (ObjectStore.of(processes) if images else None)
        objects, object_bytes = self.store.holds() if self.store else (0, 0)
        return Sample(
            seconds=round(seconds, 1),
            images=images,
            driver=private[DRIVER],
            workers=private[WORKER],
            ray=private[RAY],
            shared=shared,
            total=sum(private.values()) + shared,
            processes=len(processes),
            files=sum(process.files for process in processes),
            threads=sum(process.threads for process in processes),
            objects=objects,
            object_bytes=object_bytes,
        )

    def images(self) -> int:
        """Returns the number of images done, from the last line of progress."""
        found = re.findall(r"([\d,]+) images, ", self.log.read_text())
        return int(found[-1].replace(",", "")) if found else 0

    def left(self) -> list[str]:
        """Lists what outlived the command, except the folder of Ray's session."""
        end = time.monotonic() + GONE_SECONDS
        while (alive := [at for at in self.seen.values() if is_alive(at)]) and time.monotonic() < end:
            time.sleep(0.5)
        left = [f"process {process.pid} ({process.role})" for process in alive]
        left += [name for name in sorted(self.shared_files) if Path(name).exists()]
        locks = self.folder.rglob(NAME.format(user="*", place="*"))  # stay for the next cluster: one a place, and empty
        kept = {path for path in locks if path.stat().st_size == 0}
        left += [str(path) for path in (self.folder / "tmp").rglob("*") if not path.is_dir() and path not in kept]
        left += [str(path) for path in self.output.rglob("*") if ".tmp-" in path.name or "parts" in path.parts]
        return left


def quarters(samples: Sequence[Sample], images: int) -> tuple[list[Sample], list[Sample]]:
    """Returns the samples of the first and the last quarter of the time after warm-up."""
    warm = [sample for sample in samples if sample.images >= WARM_UP * images and sample.workers]
    if len(warm) < 8:
        sys.exit(f"{len(warm)} samples after warm-up: take more images, or --seconds 1")
    begin, end = warm[0].seconds, warm[-1].seconds
    quarter = (end - begin) / 4
    first = [sample for sample in warm if sample.seconds <= begin + quarter]
    return first, [sample for sample in warm if sample.seconds >= end - quarter]


def measure_most(samples: Sequence[Sample], name: str) -> float:
    """Returns the most of a measurement.

    Ray's own processes have a quarter more for seconds now and then, so that a mean depends on when they are sampled.
    """
    return float(max(getattr(sample, name) for sample in samples))


def report(samples: Sequence[Sample], images: int) -> list[str]:
    """Prints the table; returns a message for each measurement that grew too much."""
    first, last = quarters(samples, images)
    print(f"{'':>14} {'first quarter':>14} {'last quarter':>14} {'change':>8} {'peak':>10}")
    grown = []
    for name in (field for field in asdict(samples[0]) if field not in ("seconds", "images")):
        before, after, peak = (measure_most(part, name) for part in (first, last, samples))
        change = after / before - 1 if before else 0.0
        unit = 1e6 if name in MEMORY or name == "object_bytes" else 1
        label = f"{name}, MB" if unit > 1 else name
        print(f"{label:>14} {before / unit:>14.1f} {after / unit:>14.1f} {change:>+8.1%} {peak / unit:>10.0f}")
        if name in ("total", "driver", "workers", "ray", "processes", "files", "threads") and change > MOST_GROWTH:
            grown.append(f"{name} grew by {change:.0%}")
    return grown


def print_growth(held: Sequence[list[Held]]) -> None:
    """Prints the processes whose memory grew the most in the second half of the samples, to name what a role's did."""
    middle = {process.pid: process for process in held[len(held) // 2]}
    last = {process.pid: process for processes in held[len(held) // 2 :] for process in processes}
    grown = [(last[pid].private - before.private, last[pid]) for pid, before in middle.items()]
    for bytes_, process in sorted(grown, key=lambda pair: -pair[0])[:5]:
        print(f"{process.role:>8} {process.name}: {bytes_ / 1e6:+.1f} to {process.private / 1e6:.1f} MB")


def line(sample: Sample) -> str:
    """Returns a sample as a line of progress."""
    sizes = ", ".join(f"{name} {getattr(sample, name) / 1e6:.0f}" for name in MEMORY)
    counts = f"{sample.processes} processes, {sample.files} files, {sample.objects} objects"
    return f"{sample.seconds:>6.0f} s, {sample.images:>6} images: MB {sizes}; {counts}"


def main() -> None:
    """Reads the command line and exits 1 if the run fails a check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--drivers", type=int, default=1)
    parser.add_argument("--recycle", type=int, default=0, help="images after which a worker is replaced (0: never)")
    parser.add_argument("--seconds", type=float, default=5.0, help="seconds between samples")
    parser.add_argument("--scratch", type=Path, help="folder that keeps the shards (default: a temporary one)")
    parser.add_argument("--samples", type=Path, help="CSV file that gets all samples")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak") as name:  # a short path, because Ray's sockets are in it
        if faults := soak(Path(name), options):
            sys.exit("\n".join(faults))
    print(f"level: nothing grew by more than {MOST_GROWTH:.0%}, and nothing is left")


def soak(folder: Path, options: argparse.Namespace) -> list[str]:
    """Runs the command and prints the report; returns the faults."""
    shards = options.scratch or folder / "images"
    write_shards(shards, options.images)
    run = Soak(folder, options)
    samples, code = run.run(shards)
    left = run.left()
    if options.samples and samples:
        with options.samples.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(asdict(samples[0])))
            writer.writeheader()
            writer.writerows(asdict(sample) for sample in samples)
    if code:
        return [f"the command ended with {code}: {run.log.read_text()[-2000:]}"]
    print_growth(run.held)
    faults = report(samples, options.images) + [f"left: {name}" for name in left] + verify(str(run.output))[1]
    workers = sum(process.role == WORKER for process in run.seen.values())
    logs = sum(path.stat().st_size for path in (folder / "ray").rglob("*") if path.is_file())
    stages = read_times(Folder(str(run.output))).stages.values()
    deaths, recycled = (int(sum(stage.get(name, 0) for stage in stages)) for name in ("deaths", "recycled"))
    print(f"{options.images} images in {samples[-1].seconds / 60:.1f} minutes, {workers} worker processes in all")
    print(f"workers: {recycled} replaced, {deaths} died")
    print(
        f"left in the end: {len(left)} processes and files; the folder of Ray's session, {logs / 1e6:.1f} MB",
        flush=True,
    )
    return faults


if __name__ == "__main__":
    main()
