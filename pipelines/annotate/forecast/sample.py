"""Draws runs of samples from the input's shards, each from a random place, and packs them into small shards.

A run begins at a byte that is drawn uniformly over all shards, so that every image is equally likely, and no shard is
read as a whole: the reader finds the first header behind that byte. A run that the drawn byte cuts is not used.
"""

import io
import random
from collections.abc import Iterator, Sequence

from pipelines.annotate.chunks import count_tar_bytes
from pipelines.inputs.shards import InputShard
from schemas.storage.folder import Folder
from schemas.tar.header import BLOCK
from schemas.tar.reader import TarReader, TarSample
from schemas.tar.writer import TarWriter

WINDOW_BYTES = 8 << 20  # read for a run: 16 samples of 500 kB, which is ten times what DataComp's have
CHUNKS_PER_SHARD = 4  # runs in a shard, so that several readers have some
MAX_TRIES = 20  # per run, to find one that no earlier run has samples of


class SampleDrawer:
    """Draws runs of up to `length` adjacent samples from shards, none of them twice."""

    def __init__(self, shards: Sequence[InputShard], length: int, seed: int) -> None:
        self._shards, self.length = shards, length
        self._sizes = [shard.get_size() for shard in shards]
        self._random = random.Random(seed)
        self._drawn: set[tuple[str, str]] = set()  # shard and key
        self.total_bytes = sum(self._sizes)
        self.drawn_bytes = 0  # that the drawn samples take in a tar

    def draw(self, runs: int) -> Iterator[list[TarSample]]:
        """Yields at most so many runs; fewer where the input has no more that were not drawn yet."""
        for _ in range(runs):
            found = next(filter(None, (self._draw_run() for _ in range(MAX_TRIES))), None)
            if found is None:
                return
            yield found

    def _draw_run(self) -> list[TarSample]:
        (number,) = self._random.choices(range(len(self._shards)), self._sizes) if self.total_bytes else (0,)
        shard, size = self._shards[number], self._sizes[number]
        start = self._random.randrange(max(1, size)) // BLOCK * BLOCK
        if size <= WINDOW_BYTES:
            start = 0  # read as a whole, to begin at any of its samples
        folder, name = shard.split_path()
        stop = min(size, start + WINDOW_BYTES)
        found = list(TarReader(io.BytesIO(folder.read_range(name, start, stop)), hashing=False, start=start))
        found = found[1:] if start else found  # the first may have lost its first members
        found = found[:-1] if stop < size else found
        if not start and found:
            first = self._random.randrange(len(found))
            found = found[first:] + found[:first]
        good = [one for one in found if one.fault is None and one.members and (shard.path, one.key) not in self._drawn]
        run = good[: self.length]
        self._drawn |= {(shard.path, one.key) for one in run}
        self.drawn_bytes += sum(map(count_tar_bytes, run))
        return run


def draw_shards(drawer: SampleDrawer, images: Folder, prefix: str, chunks: int) -> list[str]:
    """Draws so many runs of samples, as far as there are, and packs them. Returns the names of the shards."""
    runs = list(drawer.draw(chunks))
    names = []
    for number, first in enumerate(range(0, len(runs), CHUNKS_PER_SHARD)):
        names.append(f"{prefix}-{number:05d}.tar")
        write_samples(images, names[-1], runs[first : first + CHUNKS_PER_SHARD])
    return names


def write_samples(folder: Folder, name: str, runs: Sequence[list[TarSample]]) -> None:
    """Writes runs of samples as a shard, members byte for byte.

    Keys are numbers, because those of several shards may be equal.
    """
    with folder.create(name) as file:
        writer = TarWriter(file)
        for number, sample in enumerate(one for run in runs for one in run):
            for ending, member in sample.members.items():
                writer.add(f"{number:09d}.{ending}", member.data)
        writer.close()
