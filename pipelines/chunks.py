"""The unit of work: a chunk is a run of consecutive samples of one shard, cut the same way always.

A chunk travels through Ray Data as ONE row whose payload is an Arrow stream. Ray Data splits and merges blocks by rows
and bytes as it sees fit; a single row it can do neither to, so one chunk stays one block from reader to sink, and its
size is known to Ray's memory accounting (object columns are not; `ray.md` trap 4).
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from schemas.datacomp import read_sample, uid_of
from schemas.errors import ShardloomError, UsageError
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

_END, _FAILURE = -1, -2  # indexes of rows that are no chunks

ROW = pa.schema([("shard", pa.string()), ("index", pa.int32()), ("note", pa.string()), ("payload", pa.large_binary())])


class ChunkOptions(BaseModel):
    """How shards are cut. Part of the recipe: other cuts give other row groups, so not the same bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    samples: PositiveInt = Field(
        256, description="at most so many samples: under a minute of OCR, the work a kill costs"
    )
    bytes: PositiveInt = Field(
        32 << 20, description="at most so many bytes of images: bounds memory for large pictures"
    )


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk. `table` is None when a finished part is there already (`done`)."""

    shard: str
    index: int
    digest: str  # of the samples' bytes: a part is valid for these and no others
    size: int  # bytes of the samples: what progress is measured in
    table: pa.Table | None


@dataclass(frozen=True, slots=True)
class ShardEnd:
    """What is known of a shard once it has been read to its end."""

    shard: str
    path: str
    size: int
    sha256: str
    digests: list[str]  # of its chunks, in order
    samples: int
    damage: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Failure:
    """A foreseen error of a worker, for the driver to raise: Ray keeps the text of an exception, but not its cause."""

    message: str
    exit_code: int

    def error(self) -> ShardloomError:
        """The error, as it was raised."""
        return UsageError(self.message) if self.exit_code == UsageError.exit_code else ShardloomError(self.message)


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


def chunk_row(chunk: Chunk) -> pa.Table:
    """The chunk as the one row that travels through Ray Data."""
    return _row(chunk.shard, chunk.index, json.dumps({"digest": chunk.digest, "size": chunk.size}), chunk.table)


def end_row(end: ShardEnd) -> pa.Table:
    """The end of a shard, on the same path as its chunks."""
    return _row(end.shard, _END, json.dumps(asdict(end)), None)


def failure_row(error: ShardloomError) -> pa.Table:
    """An error, on the same path."""
    return _row("", _FAILURE, json.dumps(asdict(Failure(str(error), error.exit_code))), None)


def from_row(row: pa.Table) -> Chunk | ShardEnd | Failure:
    """What travels in a block of Ray Data; a chunk's table shares the block's memory."""
    assert row.num_rows == 1, "one chunk is one row is one block"
    note = json.loads(row["note"][0].as_py())
    index = row["index"][0].as_py()
    if index == _END:
        return ShardEnd(**note)
    if index == _FAILURE:
        return Failure(**note)
    payload = row["payload"][0]
    table = pa.ipc.open_stream(payload.as_buffer()).read_all() if payload.is_valid else None
    return Chunk(row["shard"][0].as_py(), index, note["digest"], note["size"], table)


def _row(shard: str, index: int, note: str, table: pa.Table | None) -> pa.Table:
    payload = pa.nulls(1, pa.large_binary())
    if table is not None:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        data = sink.getvalue()
        offsets = pa.array([0, data.size], pa.int64()).buffers()[1]
        payload = pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, [None, offsets, data])
    return pa.Table.from_arrays(
        [pa.array([shard]), pa.array([index], pa.int32()), pa.array([note]), payload], schema=ROW
    )
