"""Measures the driver's cost per chunk: the real graph, 10,000 chunks, a simulated cluster, engines that sleep.

    python -m benchmarks.driver [--chunks 10_000] [--workers 32] [--nodes 4] [--speed 500] [--drivers 1]
    python -m benchmarks.driver --local --chunks 40 --workers 2    # what a cluster of the command's own takes idle

The engines look at no pixel. They sleep for the time that a chunk of 162 images takes on a core (docs/cluster.md),
divided by `--speed`; OCR and boxes share the workers so that both are busy. A chunk has 4 small pictures, padded so
that its blocks go into the object store as large ones do; shards have 40 chunks, as DataComp's have. Everything else is
as in any run: reading, hashing, decoding, parts, commits. CPU seconds are those of all threads of a process but the one
that measures, from one fifth of the chunks to two thirds. Processes take some CPU even while no chunk moves. That
is measured in a pause, which is the first chunk of each OCR worker; the rest is the cost of chunks.

With several drivers, the sub-drivers and their ledgers are processes of their own, and "driver" is the command, which
hands out shards and adds up. For a fixed load of each, raise `--chunks` and `--workers` with `--drivers`: for example
5 workers and 480 chunks each, with `--speed 280`, are 2 chunks a second for each driver.
"""

import argparse
import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image
from ray.cluster_utils import Cluster

from benchmarks.driver_usage import Watch, watched
from curation.engines.declaration import EngineDeclaration
from curation.engines.kinds import BOXES, OCR
from curation.engines.registry import ENGINES
from curation.images.decode import RgbImage
from pipelines.annotate.run import annotate
from pipelines.recipes.annotate import AnnotateRecipe
from schemas.output_set.options import Options
from schemas.records.box import Detection
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.text_line import TextLine
from schemas.tar.writer import TarWriter

IMAGES = 162  # images of 512 x 384 pixels in a chunk with the default limits
SAMPLES, SHARD_CHUNKS = 4, 40
OCR_SECONDS, BOXES_SECONDS = 1 / 2.5, 1 / 0.29  # per image on one core
SIDE, IMAGE_BYTES = 192, 40_000  # 4 of them exceed 100 kB; Ray stores no smaller block in its object store
PAUSE_SECONDS = 60.0  # of the first chunk of an OCR worker
STORE_BYTES = 256 << 20
REPORTED = ("driver", "sub-drivers", "queue", "ledger", "gcs", "raylets", "agents", "workers")


class SleepSettings(Options):
    """Configures how long an engine sleeps. `seconds` is the time per image."""

    seconds: float


class SleepingOcr:
    """Finds no text, after sleeping for the configured time."""

    fingerprint = EngineFingerprint(name="sleep", version="1", weights_sha256="", settings={})

    def __init__(self, settings: SleepSettings) -> None:
        self.seconds, self.pause = settings.seconds, PAUSE_SECONDS

    def annotate(self, images: Sequence[RgbImage]) -> list[list[TextLine]]:
        """Returns no lines for each image; the first call also pauses for `PAUSE_SECONDS`."""
        time.sleep(self.seconds * len(images) + self.pause)
        self.pause = 0.0
        return [[] for _ in images]


class SleepingBoxes:
    """Finds no boxes, after sleeping for the configured time."""

    fingerprint = EngineFingerprint(name="sleep", version="1", weights_sha256="", settings={})

    def __init__(self, settings: SleepSettings) -> None:
        self.seconds = settings.seconds

    def annotate(self, images: Sequence[RgbImage], names: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """Returns no detections for each image."""
        time.sleep(self.seconds * len(images))
        return [[] for _ in images]


SLEEPING_OCR = EngineDeclaration(name="sleeping-ocr", kind=OCR, settings=SleepSettings, make=SleepingOcr)
SLEEPING_BOXES = EngineDeclaration(name="sleeping-boxes", kind=BOXES, settings=SleepSettings, make=SleepingBoxes)


def write_shards(folder: Path, chunks: int) -> None:
    """Writes one tar, and links it under a name for each shard."""
    Image.new("RGB", (SIDE, SIDE), "grey").save(file := BytesIO(), "JPEG")
    picture = file.getvalue().ljust(IMAGE_BYTES, b"\0")
    first = folder / "00000000.tar"
    with first.open("wb") as tar:
        writer = TarWriter(tar)
        for number in range(SHARD_CHUNKS * SAMPLES):
            writer.add(f"{number:08d}.jpg", picture)
            writer.add(f"{number:08d}.json", f'{{"uid": "{number}", "caption": "a dog"}}'.encode())
        writer.close()
    for shard in range(1, -(-chunks // SHARD_CHUNKS)):
        (folder / f"{shard:08d}.tar").hardlink_to(first)


@contextlib.contextmanager
def cluster_of(nodes: int, workers: int) -> Iterator[str]:
    """Starts a head and `nodes` nodes on this machine; yields the cluster's address."""
    os.environ["RAY_AUTH_MODE"] = "disabled"  # the cluster listens only on this machine
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "object_store_memory": STORE_BYTES})
    try:
        for _ in range(nodes):
            cluster.add_node(num_cpus=-(-workers // nodes) + 1, object_store_memory=STORE_BYTES)
        yield cluster.address
    finally:
        import ray

        ray.shutdown()
        cluster.shutdown()


def recipe_of(folder: Path, address: str | None, workers: int, speed: float, drivers: int) -> AnnotateRecipe:
    """Returns a recipe of OCR, tags and boxes by engines that sleep."""
    scale = IMAGES / SAMPLES / speed
    readers = max(drivers, round(workers * OCR_SECONDS / (OCR_SECONDS + BOXES_SECONDS)))
    engines = {
        "tags": {"engine": "caption"},
        "ocr": {"engine": "benchmarks.driver:SLEEPING_OCR", "settings": {"seconds": OCR_SECONDS * scale}},
        "boxes": {"engine": "benchmarks.driver:SLEEPING_BOXES", "settings": {"seconds": BOXES_SECONDS * scale}},
    }
    resources = {"ocr": {"workers": readers, "cpus": 1}, "boxes": {"workers": workers - readers, "cpus": 1}}
    return AnnotateRecipe.model_validate(
        {
            "input": f"{folder}/*.tar",
            "engines": engines,
            "chunk": {"samples": SAMPLES},
            "run": {"address": address, "resources": resources, "stall_seconds": 600, "drivers": drivers},
        }
    )


def report(watch: Watch) -> None:
    """Prints the cost of the part between the first and the last reading."""
    first, middle, last = watch.readings
    chunks, seconds = last.chunks - first.chunks, last.seconds - first.seconds
    print(f"steady part: {chunks} chunks in {seconds:.0f} s, {chunks / seconds:.1f} chunks/s")
    print(f"{'':>11}  ms of CPU a chunk   above idle     cores      idle")
    costs = {}
    for name in (name for name in REPORTED if last.cpu[name]):
        spent, idle = last.cpu[name] - first.cpu[name], watch.idle_cores[name]
        costs[name] = (spent - idle * seconds) / chunks
        cores = f"{spent / seconds:>10.3f}{idle:>10.3f}"
        print(f"{name:>11}: {1000 * spent / chunks:>17.2f} {1000 * costs[name]:>12.2f} {cores}")
    if each := sorted(last.sub_drivers[pid] - first.sub_drivers[pid] for pid in last.sub_drivers):
        low, high = (1000 * spent * len(each) / chunks for spent in (each[0], each[-1]))
        print(f"each sub-driver, if they did as many chunks: {low:.2f} to {high:.2f} ms")
    for name, held in last.memory.items():
        grown = (held - middle.memory[name]) / (last.chunks - middle.chunks)
        print(f"memory of {name}: {held / 1e6:.0f} MB, growing by {grown:.0f} bytes a chunk")
    bound = (1 - watch.idle_cores["driver"]) / costs["driver"]
    print(f"one core of the driver: {bound:.0f} chunks/s, {bound * IMAGES:,.0f} images/s")


def report_idle(watch: Watch) -> None:
    """Prints the cores that the processes take while no chunk moves."""
    cores = ", ".join(f"{name} {watch.idle_cores[name]:.4f}" for name in REPORTED if watch.idle_cores[name])
    print(f"idle: {watch.idle_cores.total():.4f} cores: {cores}")


def main() -> None:
    """Reads the command line, runs the simulation and prints the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=32)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--speed", type=float, default=500)
    parser.add_argument("--drivers", type=int, default=1)
    parser.add_argument("--local", action="store_true", help="measure the command's own cluster instead, while idle")
    options = parser.parse_args()
    ENGINES.trust("benchmarks.driver:SLEEPING_OCR", "benchmarks.driver:SLEEPING_BOXES")
    cluster = contextlib.nullcontext() if options.local else cluster_of(options.nodes, options.workers)
    with tempfile.TemporaryDirectory() as name, cluster as address:
        folder, output = Path(name), Path(name, "out")
        write_shards(folder, options.chunks)
        shards = -(-options.chunks // SHARD_CHUNKS)
        with watched(output, shards, SHARD_CHUNKS) as watch:
            recipe = recipe_of(folder, address, options.workers, options.speed, options.drivers)
            result = annotate(recipe, str(output))
        assert result.rows_out == shards * SHARD_CHUNKS * SAMPLES, result.reasons
        report_idle(watch) if options.local else report(watch)


if __name__ == "__main__":
    main()
