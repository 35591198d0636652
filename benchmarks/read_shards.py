"""Measures tar shards in one process: samples/s read and MB/s written, against other readers and writers.

    python benchmarks/read_shards.py [--samples 1000] [--image-bytes 131072] [--rounds 5]

A sample is an image of random bytes, a .txt and a .json. All readers read the same file, which is in the page cache,
and must return the same bytes; all writers write the same samples. Runs are interleaved, because on a shared machine
other processes slow some of them down: a rate is that of the best wall clock, and a ratio the median of the ratios
within each round. `TarReader` also verifies every header's checksum and the end marker. The sha256 of the tar is
computed in a second thread, by `TarReader` and by `TarWriter`.
"""

import argparse
import io
import json
import random
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import webdataset

from schemas.tar.reader import TarReader
from schemas.tar.writer import TarWriter

Members = list[tuple[str, bytes]]


def make_members(samples: int, image_bytes: int) -> Members:
    """Returns samples in the img2dataset layout, with images of about `image_bytes` bytes."""
    pick = random.Random(0)
    members = []
    for number in range(samples):
        key = f"{number:012d}"
        image = pick.randbytes(int(image_bytes * pick.uniform(0.95, 1.05)))
        metadata = {
            "uid": f"{number:032x}",
            "url": f"https://example.com/{key}.jpg",
            "caption": "a caption",
            "key": key,
        }
        members += [(f"{key}.jpg", image), (f"{key}.txt", b"a caption")]
        members.append((f"{key}.json", json.dumps(metadata, indent=4).encode()))
    return members


def read_ours(path: Path, hashing: bool) -> int:
    """Reads the tar with `TarReader`; returns the bytes of all members."""
    with path.open("rb") as file:
        return sum(len(member.data) for s in TarReader(file, hashing) for member in s.members.values())


def read_tarfile(path: Path) -> int:
    """Reads the tar with `tarfile`; returns the bytes of all members."""
    total = 0
    with tarfile.open(path) as tar:
        for member in tar:
            body = tar.extractfile(member)
            total += len(body.read()) if body is not None else 0
    return total


def read_webdataset(path: Path) -> int:
    """Reads the tar with webdataset; returns the bytes of all members."""
    samples = webdataset.WebDataset(str(path), shardshuffle=False)
    return sum(len(data) for sample in samples for name, data in sample.items() if not name.startswith("__"))


def write_ours(path: Path, members: Members) -> None:
    """Writes the members with `TarWriter`."""
    with path.open("wb") as file:
        writer = TarWriter(file)
        for name, data in members:
            writer.add(name, data)
        writer.close()


def write_tarfile(path: Path, members: Members) -> None:
    """Writes the members with `tarfile`."""
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def measure_seconds(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Returns the wall-clock seconds of each in each round; a round runs all of them, one after another."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def print_table(title: str, amount: float, seconds: dict[str, list[float]], baselines: tuple[str, ...]) -> None:
    """Prints one line for each: its best rate, and the median ratio of its rate to that of each baseline."""
    print(f"{title:<34}{'rate':>10}" + "".join(f"{'x ' + name:>16}" for name in baselines))
    for name, own in seconds.items():
        pairs = [list(zip(seconds[baseline], own, strict=True)) for baseline in baselines]
        ratios = "".join(f"{statistics.median(base / each for base, each in found):>16.2f}" for found in pairs)
        print(f"  {name:<32}{amount / min(own):>10,.0f}{ratios}")


def main() -> None:
    """Reads the command line, measures writing and reading, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1000, help="samples in the shard (1000)")
    parser.add_argument(
        "--image-bytes", type=int, default=131_072, help="bytes of an image, plus or minus 5 %% (131072)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="number of runs of each (5)")
    asked = parser.parse_args()
    members = make_members(asked.samples, asked.image_bytes)
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder) / "ours.tar", Path(folder) / "theirs.tar"
        writing = measure_seconds(
            {
                "TarWriter, with sha256": lambda: write_ours(ours, members),
                "tarfile": lambda: write_tarfile(theirs, members),
            },
            asked.rounds,
        )
        if ours.read_bytes() != theirs.read_bytes():
            raise SystemExit("the two writers wrote different bytes")
        readers: dict[str, Callable[[], int]] = {
            "TarReader": lambda: read_ours(ours, False),
            "TarReader, with sha256": lambda: read_ours(ours, True),
            "tarfile": lambda: read_tarfile(ours),
            "webdataset": lambda: read_webdataset(ours),
        }
        if {read() for read in readers.values()} != {sum(len(data) for _, data in members)}:
            raise SystemExit("the readers found different bytes")
        reading = measure_seconds(dict(readers), asked.rounds)
        size = ours.stat().st_size
    print(f"{asked.samples:,} samples, images of about {asked.image_bytes:,} bytes, a tar of {size / 1e6:.0f} MB")
    print_table("reading, samples/s", asked.samples, reading, ("tarfile", "webdataset"))
    print_table("writing, MB/s", size / 1e6, writing, ("tarfile",))


if __name__ == "__main__":
    main()
