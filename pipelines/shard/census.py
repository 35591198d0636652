"""Makes a first pass over an image shard: finds which samples have captions, and what later passes need.

An output may begin and end anywhere in a shard, and where it does is known only after the first pass over all shards.
So the census records where each block of samples starts, and an output reads only its own blocks. It also records a
digest of each block: an output whose samples have another digest stops, because the plan was made for other samples.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.inputs.shards import InputShard
from pipelines.output.training_shards import padded
from pipelines.shard.caption_set import Captions, CaptionSet
from pipelines.shard.join import Joined, LeftOut, Matched, identity_of, join, match
from schemas.errors import ShardloomError
from schemas.layouts.datacomp import read_sample
from schemas.records.identity import Identity
from schemas.records.quarantine import Rejected
from schemas.tar.part import open_part
from schemas.tar.reader import TarReader, TarSample

SAMPLES = 64  # per block: the blocks of 200 million samples take 75 MB of the driver's memory
DIGEST = 16  # bytes


@dataclass(frozen=True, slots=True)
class Census:
    """Holds the results of the first pass over one input. `size` is in bytes; `damage` lists unreadable places."""

    shard: InputShard
    file: str | None  # the file of the caption set that was rendered from these bytes; None: no file was
    good: NDArray[np.bool_]  # for each sample, whether it has captions
    size: int
    sha256: str
    damage: list[str]
    digests: bytes  # the digests of the blocks, concatenated
    starts: NDArray[np.int64] | None
    """The byte at which each block starts, and at which the last one ends. None if a sample depends on preceding bytes,
    as in a damaged shard, which must be read from its start."""
    hidden: int = 0  # hidden files of other programs, which were skipped

    def blocks(self, first: int, last: int) -> Iterator[tuple[int, TarSample]]:
        """Yields the samples of blocks `first` to `last` - 1, each with its position in the shard."""
        folder, name = self.shard.folder()
        with folder.open(name) as file:
            begin, source = 0, file
            if self.starts is not None:
                begin, source = first * SAMPLES, open_part(file, int(self.starts[first]), int(self.starts[last]))
            for position, sample in enumerate(TarReader(source, hashing=False), begin):
                if position >= last * SAMPLES:
                    return
                if position >= first * SAMPLES:
                    yield position, sample

    def samples(self, captions: CaptionSet, start: int, stop: int) -> Iterator[Joined | LeftOut]:
        """Yields the samples from `start` up to `stop`. Raises `ShardloomError` if they changed since the census."""
        if start == stop:
            return
        first, last = start // SAMPLES, -(-stop // SAMPLES)
        rows = self._rows(captions, first, last)
        digest, checked = new_digest(), first
        for position, sample in self.blocks(first, last):
            found = match(sample, self.shard.name, rows)
            digest.update(evidence(found))
            if start <= position < stop:
                yield join(found, captions)
            if (position + 1) % SAMPLES == 0 or position + 1 == len(self.good):
                if digest.digest() != self.digests[DIGEST * checked : DIGEST * (checked + 1)]:
                    break
                digest, checked = new_digest(), checked + 1
        if checked != last:
            raise ShardloomError(f"{self.shard.path} has changed since this run began: run the same command again")

    def _rows(self, captions: CaptionSet, first: int, last: int) -> Captions:
        if self.file is not None:
            return captions.of_file(self.file, self.shard.name)
        return captions.of_samples(identities(self.shard, (sample for _, sample in self.blocks(first, last))))


def take_census(captions: CaptionSet, shard: InputShard) -> Census:
    """Makes the first pass over a shard, and repeats it if it used the wrong caption file.

    The file is guessed by the shard's size. The shard's hash, known at the end of a pass, says which file is right.
    """
    file = captions.likely_file(shard)
    while True:
        census = _look_through(captions, shard, file)
        known = captions.file_of(shard.name, census.sha256)
        if known == file:
            return census
        file = known


def _look_through(captions: CaptionSet, shard: InputShard, caption_file: str | None) -> Census:
    folder, name = shard.folder()
    if caption_file is not None:
        rows = captions.of_file(caption_file, shard.name)
    else:
        with folder.open(name) as file:
            rows = captions.of_samples(identities(shard, TarReader(file, hashing=False)))
    good: list[bool] = []
    digests = bytearray()
    starts, end = [0], 0
    is_plain = True
    digest = new_digest()
    with folder.open(name) as file:
        reader = TarReader(file)
        for sample in reader:
            found = match(sample, shard.name, rows)
            # captions of an own set always parse
            good.append(isinstance(found if captions.own else join(found, captions), Matched | Joined))
            digest.update(evidence(found))
            end = max((member.offset + padded(len(member.data)) for member in sample.members.values()), default=end)
            is_plain = is_plain and sample.fault is None
            if len(good) % SAMPLES == 0:
                digests += digest.digest()
                starts.append(end)
                digest = new_digest()
    if len(good) % SAMPLES:
        digests += digest.digest()
        starts.append(end)
    damage = [f"byte {each.offset}: {each.what}" for each in reader.damage]
    known = np.array(starts) if is_plain and not damage else None
    good_rows = np.array(good, bool)
    return Census(
        shard, caption_file, good_rows, reader.size, reader.sha256, damage, bytes(digests), known, reader.hidden
    )


def identities(shard: InputShard, samples: Iterable[TarSample]) -> list[Identity]:
    """Returns the identities of the readable samples."""
    found = []
    for sample in samples:
        try:
            found.append(identity_of(read_sample(sample), shard.name))
        except Rejected:
            continue
    return found


def evidence(found: Matched | LeftOut) -> bytes:
    """Serialises everything of a sample that an output depends on."""
    if isinstance(found, LeftOut):
        return repr((found.key, found.uid, str(found.fault))).encode()
    image = found.image
    ids = (image.key, image.uid, image.url, image.caption, image.extension)
    return repr((*ids, found.width, found.height, found.sha256)).encode()


def new_digest() -> "hashlib.blake2b":
    """Creates the digest of one block."""
    return hashlib.blake2b(digest_size=DIGEST)
