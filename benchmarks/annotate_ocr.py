"""How much of its engine's speed the pipeline keeps: images/s over (the bare engine's one-thread rate x workers).

    python benchmarks/annotate_ocr.py [--images 480] [--workers 2] [--chunk 16]

The bare engine is a loop of its own process over the same files: decode, read, nothing else. It runs before and after
the pipeline, and the mean of both counts, so that a machine that drifts does not decide. Start-up is apart on both
sides: loading the engine there, Ray and the engines here; the pipeline's time is from the first chunk's begin to the
last one's end. A Pool of `multiprocessing` over the same files is measured in the same run.
"""

import argparse
import multiprocessing
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
    """The pictures of all shards that decode."""
    images = []
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".jpg") and (file := tar.extractfile(member)) is not None:
                    images.append(file.read())
    return images


_engine: RapidOcr | None = None


def load() -> None:
    global _engine
    _engine = RapidOcr(RapidOcrSettings())


def read(image: bytes) -> int:
    assert _engine is not None
    try:
        return len(_engine.annotate([decode(image, DecodeLimits())])[0])
    except Exception:  # noqa: BLE001  the few that are no pictures cost nothing on either side
        return 0


def bare_rate(images: list[bytes]) -> float:
    """Images a second of one process with one thread; every third image, which are of all kinds."""
    with multiprocessing.get_context("spawn").Pool(1, load) as pool:
        return pool.apply(timed_loop, (images[::3],))


def timed_loop(images: list[bytes]) -> float:
    for image in images[:WARM_UP]:
        read(image)
    started = time.perf_counter()
    for image in images:
        read(image)
    return len(images) / (time.perf_counter() - started)


def pool_rate(images: list[bytes], workers: int) -> float:
    """Images a second of a Pool script."""
    with multiprocessing.get_context("spawn").Pool(workers, load) as pool:
        pool.map(read, images[: WARM_UP * workers], chunksize=WARM_UP)
        started = time.perf_counter()
        for _ in pool.imap_unordered(read, images, chunksize=4):
            pass
        return len(images) / (time.perf_counter() - started)


def pipeline_rate(folder: Path, workers: int, chunk: int) -> tuple[float, int]:
    """Images a second of the pipeline, start-up apart, and how many there were."""
    recipe = AnnotateRecipe(
        input=[f"{folder}/images/*.tar"],
        engines={"ocr": EngineOptions(engine="rapidocr")},
        chunk=ChunkOptions(samples=chunk),
        run=AnnotateRun(workers=workers),
    )
    annotate(recipe, f"{folder}/annotations")
    stage = read_times(Folder(f"{folder}/annotations")).stages["ocr"]
    return stage["images"] / stage["working_seconds"], int(stage["images"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=480)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--chunk", type=int, default=16)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_shards(Folder(f"{folder}/images"), options.images, per_shard=120)
        images = images_of(folder / "images")
        before = bare_rate(images)
        pool = pool_rate(images, options.workers)
        rate, count = pipeline_rate(folder, options.workers, options.chunk)
        after = bare_rate(images)
    bare = (before + after) / 2
    print(f"bare engine, one thread: {before:.2f} and {after:.2f} images/s (before, after)")
    for label, value in ((f"multiprocessing.Pool({options.workers})", pool), (f"shardloom, {count} images", rate)):
        efficiency = value / (bare * options.workers)
        print(f"{label}: {value:.2f} images/s, {efficiency:.3f} of {options.workers} bare engines")


if __name__ == "__main__":
    main()
