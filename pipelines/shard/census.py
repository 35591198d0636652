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
from pipelines.output.training_shards import pad_size
from pipelines.shard.caption_set import CaptionLookup, CaptionSet
from pipelines.shard.join import (
    JoinedSample,
    MatchedSample,
    QuarantinedSample,
    compute_identity,
    join_captions,
    match_captions,
)
from schemas.errors import ShardloomError
from schemas.layouts.datacomp import read_sample
from schemas.records.identity import Identity
from schemas.records.quarantine import Rejected
from schemas.tar.reader import TarReader, TarSample
from schemas.tar.slice import open_slice

BLOCK_SAMPLES = 64  # per block: the blocks of 200 million samples take 75 MB of the driver's memory
DIGEST_BYTES = 16  # bytes


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
    for example in a damaged shard, which must be read from its start."""
    hidden: int = 0  # hidden files of other programs, which were skipped

    def read_blocks(self, first: int, last: int) -> Iterator[tuple[int, TarSample]]:
        """Yields the samples of blocks `first` to `last` - 1, each with its position in the shard."""
        folder, name = self.shard.split_path()
        with folder.open(name) as file:
            begin, source, start = 0, file, 0
            if self.starts is not None:
                begin, start = first * BLOCK_SAMPLES, int(self.starts[first])
                source = open_slice(file, start, int(self.starts[last]))
            for position, sample in enumerate(TarReader(source, hashing=False, start=start), begin):
                if position >= last * BLOCK_SAMPLES:
                    return
                if position >= first * BLOCK_SAMPLES:
                    yield position, sample

    def read_samples(self, captions: CaptionSet, start: int, stop: int) -> Iterator[JoinedSample | QuarantinedSample]:
        """Yields the samples from `start` up to `stop`. Raises `ShardloomError` if they changed since the census."""
        if start == stop:
            return
        first, last = start // BLOCK_SAMPLES, -(-stop // BLOCK_SAMPLES)
        rows = self._load_captions(captions, first, last)
        digest, checked = make_digest(), first
        for position, sample in self.read_blocks(first, last):
            found = match_captions(sample, self.shard.name, rows)
            digest.update(serialise_sample(found))
            if start <= position < stop:
                yield join_captions(found, captions)
            if (position + 1) % BLOCK_SAMPLES == 0 or position + 1 == len(self.good):
                if digest.digest() != self.digests[DIGEST_BYTES * checked : DIGEST_BYTES * (checked + 1)]:
                    break
                digest, checked = make_digest(), checked + 1
        if checked != last:
            raise ShardloomError(f"{self.shard.path} has changed since this run began: run the same command again")

    def _load_captions(self, captions: CaptionSet, first: int, last: int) -> CaptionLookup:
        if self.file is not None:
            return captions.read_file(self.file, self.shard.name)
        return captions.look_up_samples(
            collect_identities(self.shard, (sample for _, sample in self.read_blocks(first, last)))
        )


def take_census(captions: CaptionSet, shard: InputShard) -> Census:
    """Makes the first pass over a shard, and repeats it if it used the wrong caption file.

    The file is guessed by the shard's size. The shard's hash, known at the end of a pass, says which file is right.
    """
    file = captions.guess_file(shard)
    while True:
        census = _scan_shard(captions, shard, file)
        known = captions.find_file(shard.name, census.sha256)
        if known == file:
            return census
        file = known


def _scan_shard(captions: CaptionSet, shard: InputShard, caption_file: str | None) -> Census:
    folder, name = shard.split_path()
    if caption_file is not None:
        rows = captions.read_file(caption_file, shard.name)
    else:
        with folder.open(name) as file:
            rows = captions.look_up_samples(collect_identities(shard, TarReader(file, hashing=False)))
    good: list[bool] = []
    digests = bytearray()
    starts, end = [0], 0
    is_plain = True
    digest = make_digest()
    with folder.open(name) as file:
        reader = TarReader(file)
        for sample in reader:
            found = match_captions(sample, shard.name, rows)
            # captions of an own set always parse
            good.append(
                isinstance(found if captions.is_own else join_captions(found, captions), MatchedSample | JoinedSample)
            )
            digest.update(serialise_sample(found))
            end = max((member.offset + pad_size(len(member.data)) for member in sample.members.values()), default=end)
            is_plain = is_plain and sample.fault is None
            if len(good) % BLOCK_SAMPLES == 0:
                digests += digest.digest()
                starts.append(end)
                digest = make_digest()
    if len(good) % BLOCK_SAMPLES:
        digests += digest.digest()
        starts.append(end)
    damage = [f"byte {each.offset}: {each.description}" for each in reader.damage]
    known = np.array(starts) if is_plain and not damage else None
    good_rows = np.array(good, bool)
    return Census(
        shard, caption_file, good_rows, reader.size, reader.sha256, damage, bytes(digests), known, reader.hidden_files
    )


def collect_identities(shard: InputShard, samples: Iterable[TarSample]) -> list[Identity]:
    """Returns the identities of the readable samples."""
    found = []
    for sample in samples:
        try:
            found.append(compute_identity(read_sample(sample), shard.name))
        except Rejected:
            continue
    return found


def serialise_sample(found: MatchedSample | QuarantinedSample) -> bytes:
    """Serialises everything of a sample that an output depends on."""
    if isinstance(found, QuarantinedSample):
        return repr((found.key, found.uid, str(found.fault))).encode()
    image = found.image
    ids = (image.key, image.uid, image.url, image.caption, image.extension)
    return repr((*ids, found.width, found.height, found.sha256)).encode()


def make_digest() -> "hashlib.blake2b":
    """Creates the digest of one block."""
    return hashlib.blake2b(digest_size=DIGEST_BYTES)
