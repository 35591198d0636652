"""Measures the pipeline's efficiency: its images/s over those of as many bare engines at once as it has workers.

    python benchmarks/annotate_ocr.py [--images 480] [--workers 2] [--chunk SAMPLES] [--pairs 1]

A bare engine is a loop in a process of its own over the same files, which only decodes and reads. As many run at once
as the pipeline has workers, because cores share their caches. They run before and after the pipeline, and the mean of
both counts, so that a drifting machine does not decide. Start-up is excluded on both sides: loading the engine there,
starting Ray and the engines here; the pipeline's time runs from the start of the first chunk to the end of the last.
A `multiprocessing` Pool over the same files is measured in the same run. With `--pairs` all of this is repeated, and
the medians of the ratios count.
"""

import argparse
import multiprocessing
import statistics
import tarfile
import tempfile
import time
from pathlib import Path

from curation.engines.ocr.rapidocr_settings import RapidOcrSettings
from curation.engines.ocr.runtime.rapidocr import RapidOcr
from curation.images.decode import DecodeLimits, decode
from pipelines.annotate.run import annotate
from pipelines.demo.shards import write_shards
from pipelines.output.totals import read_times
from pipelines.recipes.annotate import AnnotateRecipe, AnnotateRun, ChunkOptions, EngineOptions
from schemas.storage.folder import Folder

WARM_UP = 4  # images before the clock starts


def images_of(folder: Path) -> list[bytes]:
    """Returns the .jpg members of all shards."""
    images = []
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".jpg") and (file := tar.extractfile(member)) is not None:
                    images.append(file.read())
    return images


_engine: RapidOcr | None = None


def load() -> None:
    """Loads the engine in a worker process."""
    global _engine
    _engine = RapidOcr(RapidOcrSettings())


def read(image: bytes) -> int:
    """Returns the number of lines in an image; 0 if it cannot be decoded."""
    assert _engine is not None
    try:
        return len(_engine.annotate([decode(image, DecodeLimits())])[0])
    except Exception:  # noqa: BLE001  the few undecodable pictures cost nothing on either side
        return 0


def bare_rate(images: list[bytes], workers: int) -> float:
    """Returns images per second of `workers` processes with one thread each, over every third image, a sample of all
    kinds, which they share evenly.
    """
    sample = images[::3]
    with multiprocessing.get_context("spawn").Pool(workers, load) as pool:
        return sum(pool.map(timed_loop, [sample[first::workers] for first in range(workers)], chunksize=1))


def timed_loop(images: list[bytes]) -> float:
    """Returns images per second of a loop over the images, after a warm-up."""
    for image in images[:WARM_UP]:
        read(image)
    started = time.perf_counter()
    for image in images:
        read(image)
    return len(images) / (time.perf_counter() - started)


def pool_rate(images: list[bytes], workers: int) -> float:
    """Returns images per second of a Pool script."""
    with multiprocessing.get_context("spawn").Pool(workers, load) as pool:
        pool.map(read, images[: WARM_UP * workers], chunksize=WARM_UP)
        started = time.perf_counter()
        for _ in pool.imap_unordered(read, images, chunksize=4):
            pass
        return len(images) / (time.perf_counter() - started)


def pipeline_rate(folder: Path, workers: int, chunk: int, output: str) -> float:
    """Returns images per second of the pipeline without start-up."""
    recipe = AnnotateRecipe(
        input=[f"{folder}/images/*.tar"],
        engines={"ocr": EngineOptions(engine="rapidocr")},
        chunk=ChunkOptions(samples=chunk),
        run=AnnotateRun(workers=workers),
    )
    annotate(recipe, f"{folder}/{output}")
    stage = read_times(Folder(f"{folder}/{output}")).stages["ocr"]
    return stage["images"] / stage["working_seconds"]


def main() -> None:
    """Reads the command line, measures all three and prints the efficiency."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=480)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--chunk", type=int, default=ChunkOptions().samples)
    parser.add_argument("--pairs", type=int, default=1)
    options = parser.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_shards(Folder(f"{folder}/images"), options.images, per_shard=120)
        images = images_of(folder / "images")
        before = bare_rate(images, options.workers)
        for pair in range(options.pairs):
            pool = pool_rate(images, options.workers)
            rate = pipeline_rate(folder, options.workers, options.chunk, f"annotations-{pair}")
            after = bare_rate(images, options.workers)
            bare = (before + after) / 2
            ratios.append((rate / bare, rate / pool, pool / bare))
            print(
                f"{options.workers} bare engines {bare:.2f} images/s ({before:.2f} before, {after:.2f} after), "
                f"multiprocessing.Pool {pool:.2f}, shardloom {rate:.2f}",
                flush=True,
            )
            before = after
    labels = ("shardloom over bare engines", "shardloom over the Pool", "the Pool over bare engines")
    for label, values in zip(labels, zip(*ratios, strict=True), strict=True):
        print(f"{label}: median {statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})")


if __name__ == "__main__":
    main()
