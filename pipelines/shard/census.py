"""Makes a first pass over an image shard: finds which samples have captions, and what later passes need.

An output may begin and end anywhere in a shard, and where it does is known only after the first pass over all shards.
So the census records where each block of samples starts, and an output reads only its own blocks. It also records a
digest of each block: an output whose samples have another digest stops, because the plan was made for other samples.
"""

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipelines.inputs.shards import ChosenSamples, InputShard
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
from pipelines.shard.training_sample import SampleCondition
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
    left_out: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    """For each sample, whether the recipe does not choose it. Empty where it chooses all."""

    def is_left_out(self, position: int) -> bool:
        """Returns whether the recipe does not choose the sample at a position."""
        return bool(self.left_out[position : position + 1].any())

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
        """Yields the chosen samples from `start` up to `stop`.

        Raises `ShardloomError` if they changed since the census.
        """
        if start == stop:
            return
        first, last = start // BLOCK_SAMPLES, -(-stop // BLOCK_SAMPLES)
        rows = self._load_captions(captions, first, last)
        digest, checked = make_digest(), first
        for position, sample in self.read_blocks(first, last):
            if self.is_left_out(position):
                digest.update(sample.key.encode())
            else:
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


def take_census(captions: CaptionSet, shard: InputShard, condition: SampleCondition | None = None) -> Census:
    """Makes the first pass over a shard, and repeats it if it used the wrong caption file.

    The file is guessed by the shard's size. The shard's hash, known at the end of a pass, says which file is right.
    """
    file = captions.guess_file(shard)
    while True:
        census = _scan_shard(captions, shard, file, condition)
        known = captions.find_file(shard.name, census.sha256)
        if known == file:
            return census
        file = known


def _scan_shard(
    captions: CaptionSet, shard: InputShard, caption_file: str | None, condition: SampleCondition | None
) -> Census:
    folder, name = shard.split_path()
    if caption_file is not None:
        rows = captions.read_file(caption_file, shard.name)
    else:
        with folder.open(name) as file:
            chosen = ChosenSamples(shard, TarReader(file, hashing=False))
            rows = captions.look_up_samples(collect_identities(shard, chosen))
    good: list[bool] = []
    left_out: list[bool] = []
    digests = bytearray()
    starts, end = [0], 0
    is_plain = True
    marks = itertools.repeat(True) if shard.choice is None else shard.choice.mark_rows()
    with folder.open(name) as file:
        reader = TarReader(file)
        samples = zip(reader, marks, strict=False)
        while block := list(itertools.islice(samples, BLOCK_SAMPLES)):
            found = [match_captions(sample, shard.name, rows) if is_chosen else None for sample, is_chosen in block]
            joined: list[MatchedSample | JoinedSample | QuarantinedSample | None] = list(found)
            if condition is not None or not captions.is_own:  # captions of an own set always parse
                joined = [None if each is None else join_captions(each, captions) for each in found]
            if condition is not None:
                joined = _leave_out(joined, shard, condition)
            good += [isinstance(each, MatchedSample | JoinedSample) for each in joined]
            left_out += [each is None for each in joined]
            digest = make_digest()
            for (sample, _), each, kept in zip(block, found, joined, strict=True):
                digest.update(sample.key.encode() if each is None or kept is None else serialise_sample(each))
                ends = (member.offset + pad_size(len(member.data)) for member in sample.members.values())
                end = max(ends, default=end)
                is_plain = is_plain and sample.fault is None
            digests += digest.digest()
            starts.append(end)
    damage = [f"byte {each.offset}: {each.description}" for each in reader.damage]
    known = np.array(starts) if is_plain and not damage else None
    scanned = (reader.size, reader.sha256, damage, bytes(digests), known, reader.hidden_files)
    return Census(shard, caption_file, np.array(good, bool), *scanned, np.array(left_out, bool))


def _leave_out(
    joined: Sequence[MatchedSample | JoinedSample | QuarantinedSample | None],
    shard: InputShard,
    condition: SampleCondition,
) -> list[MatchedSample | JoinedSample | QuarantinedSample | None]:
    """Returns the samples with None for those with captions of which the condition is not true."""
    judged = [each for each in joined if isinstance(each, JoinedSample)]
    marks = iter(condition.mark(shard.source, judged) if judged else ())
    return [each if not isinstance(each, JoinedSample) or next(marks) else None for each in joined]


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
