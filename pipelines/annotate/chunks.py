"""The unit of work: a chunk is a run of consecutive samples of one shard, cut the same way always."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from curation.images.decode import DecodeLimits, image_size
from pipelines.recipes.annotate import ChunkOptions
from schemas.layouts.datacomp import read_sample, uid_of
from schemas.records.failure import FAILURES
from schemas.records.quarantine import Rejected
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


EMPTY: dict[str, Any] = {FAILURES.name: []}


def cut(reader: TarReader, options: ChunkOptions) -> Iterator[list[TarSample]]:
    """The samples of a shard in chunks: a chunk ends before the sample that would go over one of the limits."""
    chunk: list[TarSample] = []
    size = pixels = 0
    for sample in reader:
        size, pixels = size + size_of(sample), pixels + pixels_of(sample)
        if chunk and (len(chunk) >= options.samples or size > options.bytes or pixels > options.pixels):
            yield chunk
            chunk, size, pixels = [], size_of(sample), pixels_of(sample)
        chunk.append(sample)
    if chunk:
        yield chunk


def size_of(sample: TarSample) -> int:
    """Bytes of the sample's members."""
    return sum(len(member.data) for member in sample.members.values())


def tar_size_of(sample: TarSample) -> int:
    """Bytes that the sample takes of its tar: a header for each member, and its data in whole blocks."""
    return sum(BLOCK + -(-len(member.data) // BLOCK) * BLOCK for member in sample.members.values())


def pixels_of(sample: TarSample) -> int:
    """Pixels of the sample's image, by its header; none where there is no image that could be decoded."""
    try:
        width, height = image_size(read_sample(sample).image.data, ANY_SIZE)
    except (Rejected, MemoryError):
        return 0
    return width * height


def digest_of(samples: list[TarSample]) -> str:
    """Hash over keys, members and faults: what the result of a chunk depends on."""
    digest = hashlib.sha256()
    for sample in samples:
        sizes = {extension: len(member.data) for extension, member in sample.members.items()}
        digest.update(json.dumps([sample.key, sizes, str(sample.fault)]).encode())
        for member in sample.members.values():
            digest.update(member.data)
    return digest.hexdigest()


def samples_table(samples: list[TarSample]) -> pa.Table:
    """The samples as Arrow rows, those that can't be used with their verdict and without an image."""
    rows: list[dict[str, Any]] = []
    for sample in samples:
        try:
            image = read_sample(sample)
        except Rejected as fault:
            verdict = {"stage": READ, "reason": fault.reason.value, "detail": fault.detail}
            rows.append({"key": sample.key, "uid": uid_of(sample), "caption": "", "sha256": "", **EMPTY} | verdict)
        else:
            data = image.image.data
            row = {"key": image.key, "uid": image.uid, "url": image.url, "caption": image.caption, "image": data}
            rows.append(row | EMPTY | {"sha256": hashlib.sha256(data).hexdigest()})
    return pa.Table.from_pylist(rows, schema=SAMPLES)
