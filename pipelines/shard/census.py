"""A first pass over an image shard: which of its samples have captions, and what later passes need to know.

An output begins and ends anywhere in a shard, and where it does is known only when all shards were looked through. So
the census keeps where each block of samples starts: an output reads its own blocks alone. It also keeps a digest of
what each block holds: an output that finds anything else stops, because its cut was made for other samples.
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

SAMPLES = 64  # of a block: the blocks of 200 million samples take 75 MB of the driver's memory
DIGEST = 16  # bytes


@dataclass(frozen=True, slots=True)
class Census:
    """What a first pass over one input has found. `size` is in bytes, `damage` what could not be read, and where."""

    shard: InputShard
    file: str | None  # of the caption set, with the captions of all samples of these very bytes; None: there is none
    good: NDArray[np.bool_]  # for each sample, whether it has captions
    size: int
    sha256: str
    damage: list[str]
    digests: bytes  # of the blocks, one behind the other
    starts: NDArray[np.int64] | None
    """The byte at which each block starts, and at which the last one ends. None where a sample's meaning depends on
    what comes before it, as in a damaged shard: that is read from its start."""
    hidden: int = 0  # files of other programs, which were passed over

    def blocks(self, first: int, last: int) -> Iterator[tuple[int, TarSample]]:
        """Reads these blocks. Yields their samples, each with its position in the shard."""
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
        """Reads the samples from `start` to `stop`. Raises `ShardloomError` when they are not what they were."""
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
    """Looks through a shard. Only its hash, known at the end, shows if the captions were those of its bytes."""
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
            # what we rendered can be read
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
    """Collects what images are looked up by."""
    found = []
    for sample in samples:
        try:
            found.append(identity_of(read_sample(sample), shard.name))
        except Rejected:
            continue
    return found


def evidence(found: Matched | LeftOut) -> bytes:
    """Everything of a sample that an output depends on."""
    if isinstance(found, LeftOut):
        return repr((found.key, found.uid, str(found.fault))).encode()
    image = found.image
    ids = (image.key, image.uid, image.url, image.caption, image.extension)
    return repr((*ids, found.width, found.height, found.sha256)).encode()


def new_digest() -> "hashlib.blake2b":
    """Makes the digest of one block."""
    return hashlib.blake2b(digest_size=DIGEST)
