"""Measures how `render grounding --caption-from` finds the captions: by one partition, and by a scan for each file.

    python -m benchmarks.caption_from [--rows 200_000]

A row is a sample in an annotation file and its caption, of some 300 characters, in another order in caption files. The
partition is measured as a whole, from the files to the captions of all samples; the scan of all caption files, which it
replaces, on some annotation files, and multiplied. Both include the look-ups. Each runs in a process of its own, whose
CPU seconds and peak resident memory are printed.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.cluster.runner import Runner
from pipelines.output.job import Context
from pipelines.recipes.base import RunOptions
from pipelines.render.base_captions import BaseCaptionFiles, read_identities
from pipelines.render.caption_partition import CaptionPartition, find_captions
from schemas.output_set.manifest import OutputFile
from schemas.storage.folder import Folder
from schemas.storage.parquet import read_table

ANNOTATION_ROWS = 10_000  # as img2dataset's shards have
CAPTION_ROWS = 500_000  # of the files of BLIP3-GROUNDING-50M, a million
STEP = 2_654_435_761  # a prime: the order of captions among samples
PHRASES = 5_000

Measured = tuple[float, float, int]
"""Wall-clock seconds, CPU seconds, peak bytes."""


def cut(rows: int, size: int) -> Iterator[tuple[int, int]]:
    """Yields the first row and the row after the last of each file."""
    return ((first, min(first + size, rows)) for first in range(0, rows, size))


def write_files(folder: Path, rows: int) -> None:
    """Writes annotation files, as far as samples are identified by them, and caption files."""
    for name in ("data", "captions"):
        (folder / name).mkdir()
    for number, (first, stop) in enumerate(cut(rows, ANNOTATION_ROWS)):
        columns = {
            "key": [f"{row:09d}" for row in range(first, stop)],
            "sha256": [f"{row:064x}" for row in range(first, stop)],
        }
        pq.write_table(pa.table(columns | make_ids(range(first, stop))), folder / f"data/{number:08d}.parquet")
    dice = np.random.default_rng(0)
    phrases = pa.array([f"{word} of the {word * 7 % PHRASES} in a picture" for word in range(PHRASES)])
    for number, (first, stop) in enumerate(cut(rows, CAPTION_ROWS)):
        texts = [phrases.take(pa.array(dice.integers(0, PHRASES, stop - first))) for _ in range(10)]
        captions = {"caption": pc.binary_join_element_wise(*texts, ", ")}
        ids = make_ids([row * STEP % rows for row in range(first, stop)])
        pq.write_table(pa.table(ids | captions), folder / f"captions/{number:03d}.parquet")


def make_ids(rows: "range | list[int]") -> dict[str, list[str]]:
    """Returns the ids of samples."""
    return {
        "uid": [f"{row:032x}" for row in rows],
        "url": [f"https://e{row % 977}.example.org/{row}.jpg" for row in rows],
    }


def find_by_partition(folder: Path, rows: int) -> int:
    """Partitions all captions and looks up those of all samples. Returns their number."""
    annotations, output = Folder(str(folder)), Folder(str(folder / "out"))
    bases = BaseCaptionFiles.open(f"{folder}/captions/*.parquet", None)
    files = {
        f"{number:08d}": OutputFile(path=f"data/{number:08d}.parquet", rows=stop - first, size=0, sha256="")
        for number, (first, stop) in enumerate(cut(rows, ANNOTATION_ROWS))
    }
    context = Context(output, Runner.open(RunOptions(workers=1)), {})
    start = time.process_time()
    partition = CaptionPartition(context, bases, annotations, files)
    print(f"the partition alone                 {time.process_time() - start:8.1f} s CPU", flush=True)
    found = 0
    for name, file in files.items():
        samples = read_identities(read_table(folder / file.path), name)
        found += len(find_captions(output, bases, partition.find_segments(name), samples).found)
    return found


def find_by_scans(folder: Path, files: int) -> int:
    """Looks up the captions of the samples of some annotation files. Returns their number."""
    bases = BaseCaptionFiles.open(f"{folder}/captions/*.parquet", None)
    found = 0
    for number in range(files):
        samples = read_identities(read_table(folder / f"data/{number:08d}.parquet"), f"{number:08d}")
        found += len(bases.look_up(samples).found)
    return found


def measure(find: Callable[[Path, int], int], folder: Path, size: int, expected: int) -> Measured:
    """Measures one way in a process of its own. Fails if it does not find all captions."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found, measured = pool.apply(_measure, (find, folder, size))
    assert found == expected, f"{found} captions of {expected}"
    return measured


def _measure(find: Callable[[Path, int], int], folder: Path, size: int) -> tuple[int, Measured]:
    wall, cpu = time.perf_counter(), time.process_time()
    found = find(folder, size)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    return found, (time.perf_counter() - wall, time.process_time() - cpu, peak)


def main() -> None:
    """Reads the command line, measures both ways, and prints the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--scans", type=int, default=2, help="annotation files that the scan is measured on")
    options = parser.parse_args()
    files = len(list(cut(options.rows, ANNOTATION_ROWS)))
    scans = min(options.scans, files)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder, options.rows)
        size = sum(path.stat().st_size for path in folder.glob("captions/*"))
        print(f"{options.rows:,} rows, {files} annotation files, {size / 1e6:,.0f} MB of captions")
        wall, cpu, peak = measure(find_by_partition, folder, options.rows, options.rows)
        print(f"with a partition{wall:8.1f} s wall {cpu:8.1f} s CPU, peak {peak / 1e9:.2f} GB", flush=True)
        own = min(options.rows, scans * ANNOTATION_ROWS)
        scan_wall, scan_cpu, scan_peak = measure(find_by_scans, folder, scans, own)
    wall_all, cpu_all = (seconds * options.rows / own for seconds in (scan_wall, scan_cpu))
    print(f"with scans      {wall_all:8.1f} s wall {cpu_all:8.1f} s CPU, peak {scan_peak / 1e9:.2f} GB")
    print(f"scans over partition: {cpu_all / cpu:.1f} of CPU, {scan_peak / peak:.2f} of memory")


if __name__ == "__main__":
    main()
