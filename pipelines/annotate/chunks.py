"""The unit of work: a chunk is a run of consecutive samples of one shard, cut the same way always."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curation.images.decode import DecodeLimits, image_size
from pipelines.recipes.annotate import ChunkOptions
from schemas.layouts.datacomp import read_sample, uid_of
from schemas.records.failure import FAILURES
from schemas.records.quarantine import Reason, Rejected
from schemas.tar.header import BLOCK
from schemas.tar.reader import TarReader, TarSample

READ = "read"
"""The stage of verdicts that are found while a shard is read."""

VERDICT_COLUMNS = [pa.field("stage", pa.string()), pa.field("reason", pa.string()), pa.field("detail", pa.string())]
"""Null while a sample is good; else where and why it was left out."""

SAMPLES = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("uid", pa.string()),
        pa.field("url", pa.string()),
        pa.field("caption", pa.string(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),  # of the image's bytes; empty when there is none
        pa.field("image", pa.large_binary()),
        *VERDICT_COLUMNS,
        FAILURES,
    ]
)
"""A chunk as the reader hands it on. Pools add columns, and take away those that no later pool needs."""


ANY_SIZE = DecodeLimits(max_pixels=178_956_970)
"""The most that any recipe may allow, so that cuts don't depend on it; an image over it is never decoded."""


_EMPTY: dict[str, Any] = {"caption": "", "sha256": "", FAILURES.name: []}


@dataclass(frozen=True, slots=True)
class ChunkSample:
    """A sample as its shard has it, with what its .json says: that is parsed once."""

    tar: TarSample
    row: dict[str, Any]  # of `SAMPLES`, but for the hash of the image
    pixels: int  # of the image, by its header; none where there is no image that could be decoded

    @property
    def key(self) -> str:
        """The sample's key in its shard."""
        return self.tar.key


def chunk_sample(sample: TarSample) -> ChunkSample:
    """Reads what a chunk needs of a sample; one that can't be used gets its verdict, and no image."""
    try:
        found = read_sample(sample)
    except Rejected as fault:
        verdict = {"stage": READ, "reason": fault.reason.value, "detail": fault.detail}
        uid = None if fault.reason is Reason.MISSING_METADATA else uid_of(sample)
        return ChunkSample(sample, _EMPTY | {"key": sample.key, "uid": uid} | verdict, 0)
    named = {"key": found.key, "uid": found.uid, "url": found.url, "caption": found.caption}
    data = found.image.data
    return ChunkSample(sample, _EMPTY | named | {"image": data}, pixels_of(data))


def cut(reader: TarReader, options: ChunkOptions) -> Iterator[list[ChunkSample]]:
    """The samples of a shard in chunks: a chunk ends before the sample that would go over one of the limits."""
    chunk: list[ChunkSample] = []
    size = pixels = 0
    for sample in map(chunk_sample, reader):
        own = size_of(sample.tar)
        size, pixels = size + own, pixels + sample.pixels
        if chunk and (len(chunk) >= options.samples or size > options.bytes or pixels > options.pixels):
            yield chunk
            chunk, size, pixels = [], own, sample.pixels
        chunk.append(sample)
    if chunk:
        yield chunk


def size_of(sample: TarSample) -> int:
    """Bytes of the sample's members."""
    return sum(len(member.data) for member in sample.members.values())


def tar_size_of(sample: TarSample) -> int:
    """Bytes that the sample takes of its tar: a header for each member, and its data in whole blocks."""
    return sum(BLOCK + -(-len(member.data) // BLOCK) * BLOCK for member in sample.members.values())


def pixels_of(image: bytes) -> int:
    """Pixels of an image, by its header; none where it could not be decoded."""
    try:
        width, height = image_size(image, ANY_SIZE)
    except (Rejected, MemoryError):
        return 0
    return width * height


def digest_of(samples: Sequence[ChunkSample]) -> str:
    """Hash over keys, members and faults: what the result of a chunk depends on."""
    digest = hashlib.sha256()
    for sample in (one.tar for one in samples):
        sizes = {extension: len(member.data) for extension, member in sample.members.items()}
        digest.update(json.dumps([sample.key, sizes, str(sample.fault)]).encode())
        for member in sample.members.values():
            digest.update(member.data)
    return digest.hexdigest()


def samples_table(samples: Sequence[ChunkSample]) -> pa.Table:
    """The samples as Arrow rows, those that can't be used with their verdict and without an image."""
    return pa.Table.from_pylist([_hashed(sample.row) for sample in samples], schema=SAMPLES)


def _hashed(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"sha256": hashlib.sha256(row["image"]).hexdigest()} if "image" in row else row
