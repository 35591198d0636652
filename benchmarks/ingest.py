"""Measures documents per second that ingest makes into training shards, against a plain loop over the same files.

    python -m benchmarks.ingest [--documents 300] [--pixels 512] [--rounds 3] [--workers 1 2]

The benchmark draws two sets: captioned images in tars, and interleaved documents of three images each in Parquet, whose
images are in img2dataset shards. The plain loop does the indispensable work in one process: it reads the files with
`tarfile` or pyarrow, looks images up in a dict of URLs, decodes each to check it, and writes a tar with `tarfile`. It
does not check, count, hash or index anything else. Runs are interleaved, and the best wall clock of each counts; a run
of several workers includes the start of Ray, which takes seconds.
"""

import argparse
import io
import json
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from pipelines.ingest.run import ingest
from pipelines.recipes.ingest import IngestRecipe, IngestRun
from schemas.tar.writer import TarWriter

FILES = 4
PER_DOCUMENT = 3
PARAGRAPH = "Some words of a paragraph, as many as stand between two pictures of a page. " * 12


def jpeg(seed: int, pixels: int) -> bytes:
    """Returns a picture with the frequencies of a photograph, about 50 kB at 512 pixels."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (pixels // 16, pixels // 16, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((pixels, pixels), Image.Resampling.BICUBIC), dtype=np.int16)
    noisy = np.clip(smooth + generator.integers(-12, 12, smooth.shape), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noisy).save(file, "JPEG", quality=85)
    return file.getvalue()


def url(number: int) -> str:
    """Returns the URL of an image by its number."""
    return f"https://example.org/{number:09d}.jpg"


def write_sets(folder: Path, documents: int, pixels: int) -> None:
    """Writes shards of images, which are also the captioned set, and the documents that show them."""
    images = documents * PER_DOCUMENT
    for shard in range(FILES):
        with (folder / f"{shard:05d}.tar").open("wb") as file:
            writer = TarWriter(file)
            for number in range(shard, images, FILES):
                writer.add(f"{number:09d}.jpg", jpeg(number, pixels))
                writer.add(f"{number:09d}.json", json.dumps({"url": url(number), "caption": PARAGRAPH[:90]}).encode())
            writer.close()
        rows = [
            {
                "texts": [PARAGRAPH, None] * PER_DOCUMENT,
                "images": [at for n in range(PER_DOCUMENT) for at in (None, url(PER_DOCUMENT * document + n))],
            }
            for document in range(shard, documents, FILES)
        ]
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{shard:05d}.parquet", row_group_size=100)


def check(data: bytes) -> None:
    """Decodes an image completely; raises Pillow's error if it cannot."""
    with Image.open(io.BytesIO(data)) as image:
        image.convert("RGB").load()


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """Adds a file to a tar."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def members(path: Path) -> Iterator[tuple[str, bytes, int]]:
    """Yields the name, the bytes and the offset of each member of a tar."""
    with tarfile.open(path) as tar:
        for member in tar:
            body = tar.extractfile(member)
            assert body is not None
            yield member.name, body.read(), member.offset_data


def plain_captions(folder: Path, output: Path) -> None:
    """Copies the captioned images with the plain loop."""
    output.mkdir()
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(output / path.name, "w") as tar:
            for name, data, _ in members(path):
                if name.endswith(".jpg"):
                    check(data)
                else:
                    add(tar, name.replace(".json", ".txt"), json.loads(data)["caption"].encode())
                add(tar, name, data)


def plain_documents(folder: Path, output: Path) -> None:
    """Joins the documents with their images with the plain loop."""
    output.mkdir()
    places: dict[str, tuple[Path, int, int]] = {}
    for path in sorted(folder.glob("*.tar")):
        image = (0, 0)
        for name, data, offset in members(path):
            if name.endswith(".jpg"):
                image = (offset, len(data))
            else:
                places[json.loads(data)["url"]] = (path, *image)
    for path in sorted(folder.glob("*.parquet")):
        with tarfile.open(output / f"{path.stem}.tar", "w") as tar:
            for number, row in enumerate(pq.read_table(path).to_pylist()):
                add(tar, f"{number:09d}.json", json.dumps(row["texts"]).encode())
                for place, address in enumerate(filter(None, row["images"])):
                    shard, offset, size = places[address]
                    with shard.open("rb") as file:
                        file.seek(offset)
                        data = file.read(size)
                    check(data)
                    add(tar, f"{number:09d}.{place}.jpg", data)


def ours(source: str, workers: int) -> Callable[[Path, Path], None]:
    """Returns a function that ingests a source with Shardloom, on `workers` workers."""

    def run(folder: Path, output: Path) -> None:
        captions = source == "datacomp"
        files = f"{folder}/*.{'tar' if captions else 'parquet'}"
        options: dict[str, Any] = {} if captions else {"images": [f"{folder}/*.tar"]}
        recipe = IngestRecipe(source=source, input=[files], run=IngestRun(workers=workers), **options)
        ingest(recipe, str(output))

    return run


def main() -> None:
    """Reads the command line, runs the rounds and prints the rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=300)
    parser.add_argument("--pixels", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "sets")
        folder.mkdir()
        write_sets(folder, arguments.documents, arguments.pixels)
        size = sum(path.stat().st_size for path in folder.glob("*.tar")) / 1e6
        for source, plain, count in (
            ("datacomp", plain_captions, arguments.documents * PER_DOCUMENT),
            ("obelics", plain_documents, arguments.documents),
        ):
            runs = {"plain loop": plain} | {f"ingest, {n} workers": ours(source, n) for n in arguments.workers}
            best = dict.fromkeys(runs, float("inf"))
            for at in range(arguments.rounds):
                for title, run in runs.items():
                    began = time.perf_counter()
                    run(folder, Path(name, f"{source}-{title}-{at}".replace(" ", "-")))
                    best[title] = min(best[title], time.perf_counter() - began)
            print(f"{source}: {count} samples, {size:.0f} MB of images")
            for title, seconds in best.items():
                print(f"  {title:20} {count / seconds:8.0f} samples/s {size / seconds:8.1f} MB/s")


if __name__ == "__main__":
    main()
