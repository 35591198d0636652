"""The unit of work: a chunk is a run of consecutive samples of one shard, cut the same way always."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from schemas.datacomp import read_sample, uid_of
from schemas.quarantine import Rejected
from schemas.tar_reader import TarReader, TarSample

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
    ]
)
"""A chunk as the reader hands it on."""


class ChunkOptions(BaseModel):
    """How shards are cut. Part of the recipe: other cuts give other row groups, so not the same bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    samples: PositiveInt = Field(
        256, description="at most so many samples: under a minute of OCR, the work a kill costs"
    )
    bytes: PositiveInt = Field(
        32 << 20, description="at most so many bytes of images: bounds memory for large pictures"
    )


def cut(reader: TarReader, options: ChunkOptions) -> Iterator[list[TarSample]]:
    """The samples of a shard in chunks: a chunk ends before the sample that would go over one of the limits."""
    chunk: list[TarSample] = []
    total = 0
    for sample in reader:
        size = size_of(sample)
        if chunk and (len(chunk) >= options.samples or total + size > options.bytes):
            yield chunk
            chunk, total = [], 0
        chunk.append(sample)
        total += size
    if chunk:
        yield chunk


def size_of(sample: TarSample) -> int:
    """Bytes of the sample's members."""
    return sum(len(member.data) for member in sample.members.values())


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
            verdict = {"stage": "read", "reason": fault.reason.value, "detail": fault.detail}
            rows.append({"key": sample.key, "uid": uid_of(sample), "caption": "", "sha256": ""} | verdict)
        else:
            data = image.image.data
            row = {"key": image.key, "uid": image.uid, "url": image.url, "caption": image.caption, "image": data}
            rows.append(row | {"sha256": hashlib.sha256(data).hexdigest()})
    return pa.Table.from_pylist(rows, schema=SAMPLES)
