"""Cuts a shard into chunks, the unit of work: consecutive samples of one shard, always cut at the same places."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curation.images.decode import DecodeLimits, read_image_size
from pipelines.recipes.annotate import ChunkOptions
from schemas.layouts.datacomp import read_sample, read_uid
from schemas.records.failure import FAILURES_COLUMN
from schemas.records.quarantine import Reason, Rejected
from schemas.tar.header import BLOCK
from schemas.tar.reader import TarSample

READ_STAGE = "read"
"""The stage of a verdict that the reader of shards gives."""

VERDICT_COLUMNS = [pa.field("stage", pa.string()), pa.field("reason", pa.string()), pa.field("detail", pa.string())]
"""The verdict on a sample: null while it is good, else the stage that left it out, the reason and the detail."""

CHUNK_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("uid", pa.string()),
        pa.field("url", pa.string()),
        pa.field("caption", pa.string(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),  # of the image's bytes, as hex; empty without an image
        pa.field("image", pa.large_binary()),
        *VERDICT_COLUMNS,
        FAILURES_COLUMN,
    ]
)
"""The schema of a chunk as the reader forwards it. Pools add columns and drop those that no later pool needs."""


LOOSEST_DECODE_LIMITS = DecodeLimits(max_pixels=178_956_970)
"""The largest limit that a recipe may set, so that cuts don't depend on the recipe. Larger images are never decoded."""


_EMPTY: dict[str, Any] = {"caption": "", "sha256": "", FAILURES_COLUMN.name: []}


@dataclass(frozen=True, slots=True)
class ChunkSample:
    """Holds a sample of a shard, with its `.json` already parsed."""

    tar: TarSample
    row: dict[str, Any]  # a row of `CHUNK_SCHEMA`, without the image's hash
    pixels: int  # width times height by the image's header; 0 without a decodable image
    has_unreadable_metadata: bool = False

    @property
    def key(self) -> str:
        """Returns the sample's key in its shard."""
        return self.tar.key


def read_chunk_sample(sample: TarSample) -> ChunkSample:
    """Reads what a chunk needs of a sample. An unusable sample gets a verdict and no image."""
    try:
        found = read_sample(sample)
    except Rejected as fault:
        verdict = {"stage": READ_STAGE, "reason": fault.reason.value, "detail": fault.detail}
        uid = None if fault.reason is Reason.MISSING_METADATA else read_uid(sample)
        return ChunkSample(sample, _EMPTY | {"key": sample.key, "uid": uid} | verdict, 0)
    named = {"key": found.key, "uid": found.uid, "url": found.url, "caption": found.caption}
    data = found.image.data
    return ChunkSample(sample, _EMPTY | named | {"image": data}, count_pixels(data), found.has_unreadable_metadata)


def cut_chunks(samples: Iterable[TarSample], options: ChunkOptions) -> Iterator[list[ChunkSample]]:
    """Yields the chunks of a shard. A chunk ends before the sample that would exceed a limit.

    `options` limits samples, bytes of the members and decoded pixels. A sample over a limit alone is a chunk by itself.
    """
    chunk: list[ChunkSample] = []
    size = pixels = 0
    for sample in map(read_chunk_sample, samples):
        own = count_bytes(sample.tar)
        size, pixels = size + own, pixels + sample.pixels
        if chunk and (len(chunk) >= options.samples or size > options.bytes or pixels > options.pixels):
            yield chunk
            chunk, size, pixels = [], own, sample.pixels
        chunk.append(sample)
    if chunk:
        yield chunk


def count_bytes(sample: TarSample) -> int:
    """Returns the bytes of the sample's members."""
    return sum(len(member.data) for member in sample.members.values())


def count_tar_bytes(sample: TarSample) -> int:
    """Returns the bytes that the sample takes in its tar: a header per member, and the data padded to whole blocks."""
    return sum(BLOCK + -(-len(member.data) // BLOCK) * BLOCK for member in sample.members.values())


def count_pixels(image: bytes) -> int:
    """Returns width times height of an image, by its header; 0 where it could not be decoded."""
    try:
        width, height = read_image_size(image, LOOSEST_DECODE_LIMITS)
    except (Rejected, MemoryError):
        return 0
    return width * height


def compute_digest(samples: Sequence[ChunkSample]) -> str:
    """Returns a SHA-256, as hex, over keys, members and faults: all that a chunk's result depends on."""
    digest = hashlib.sha256()
    for sample in (one.tar for one in samples):
        sizes = {extension: len(member.data) for extension, member in sample.members.items()}
        digest.update(json.dumps([sample.key, sizes, str(sample.fault)]).encode())
        for member in sample.members.values():
            digest.update(member.data)
    return digest.hexdigest()


def build_samples_table(samples: Sequence[ChunkSample]) -> pa.Table:
    """Returns the samples as a table of `CHUNK_SCHEMA`. Unusable ones have a verdict and no image."""
    return pa.Table.from_pylist([_add_sha256(sample.row) for sample in samples], schema=CHUNK_SCHEMA)


def _add_sha256(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"sha256": hashlib.sha256(row["image"]).hexdigest()} if "image" in row else row
