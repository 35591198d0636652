"""Defines the messages of the graph and encodes each as ONE row of Ray Data.

Ray Data splits and merges blocks by rows and bytes. It can't split a single row, so one chunk stays one block from
reader to sink. Its samples are an Arrow IPC stream in a binary column, because Ray's memory accounting knows the size
of a binary column; an object column looks empty to it.
"""

import json
from dataclasses import asdict, dataclass, field, replace

import pyarrow as pa

from pipelines.cluster.failure import Failure

MESSAGE_SCHEMA = pa.schema([pa.field("message", pa.string(), nullable=False), pa.field("samples", pa.large_binary())])


@dataclass(frozen=True, slots=True)
class Chunk:
    """Holds samples to work on and what the pools have added to them so far.

    At the end of a run a chunk is cut into slices, on which several workers work at once.
    """

    shard: str
    index: int
    digest: str  # of the samples' bytes: a part is valid for these samples only
    size: int  # bytes of the samples in their tar, the unit of progress
    table: pa.Table | None = None  # None only while the message is encoded
    start: int = 0  # of a slice: its first sample in the chunk
    of_rows: int = 0  # of a slice: the samples of the chunk; 0 for a whole chunk
    is_at_end: bool = False  # among the last of the run

    @property
    def label(self) -> str:
        """Returns how the ledger calls the chunk, or the slice."""
        return f"{self.shard}/{self.index}" + (f"+{self.start}" if self.start else "")

    def ends_chunk(self) -> bool:
        """Returns whether this is a whole chunk or its last slice."""
        assert self.table is not None
        return not self.of_rows or self.start + self.table.num_rows == self.of_rows


@dataclass(frozen=True, slots=True)
class WrittenPart:
    """Reports a chunk whose part is written, or a slice."""

    shard: str
    index: int
    size: int
    rows: int = 0  # worked on in this run; 0 when the part already existed
    reasons: dict[str, int] = field(default_factory=dict)  # reason for leaving rows out -> rows
    engine_errors: dict[str, int] = field(default_factory=dict)  # engine -> images that it failed on
    retries: int = 0  # retries of requests to the object store since this worker's last message
    start: int = 0  # as in `Chunk`
    of_rows: int = 0
    tokens: int = 0  # that captions have used in this run


@dataclass(frozen=True, slots=True)
class ShardEnd:
    """Reports what the reader knows of a shard at its end."""

    shard: str
    path: str
    size: int
    sha256: str
    digests: list[str]  # of its chunks, in their order; of a retry, of those with rows to retry
    samples: int
    damage: list[str] = field(default_factory=list)
    retries: int = 0  # as in `WrittenPart`
    hidden: int = 0  # hidden files in the tar, which the reader skipped
    unreadable: int = 0  # samples kept without ids, whose .json is not an object
    left_out: dict[str, int] = field(default_factory=dict)  # samples not chosen, by the option that chooses
    chunk_keys: list[list[str]] = field(default_factory=list)  # of a retry: the keys of each chunk of the shard


Message = Chunk | WrittenPart | ShardEnd | Failure

_MESSAGE_TYPES: dict[str, type[Message]] = {kind.__name__: kind for kind in (Chunk, WrittenPart, ShardEnd, Failure)}


def encode_message(message: Message) -> pa.Table:
    """Encodes a message as a block of one row of `MESSAGE_SCHEMA`."""
    samples = pa.nulls(1, pa.large_binary())
    if isinstance(message, Chunk) and message.table is not None:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, message.table.schema) as writer:
            writer.write_table(message.table)
        data = sink.getvalue()
        offsets = pa.array([0, data.size], pa.int64()).buffers()[1]
        samples = pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, [None, offsets, data])
        message = replace(message, table=None)
    text = json.dumps([type(message).__name__, asdict(message)])
    return pa.Table.from_arrays([pa.array([text]), samples], schema=MESSAGE_SCHEMA)


def decode_message(row: pa.Table) -> Message:
    """Decodes the message in a block. A chunk's table shares the block's memory."""
    assert row.num_rows == 1, "a message is one row is one block"
    kind, fields = json.loads(row["message"][0].as_py())
    message = _MESSAGE_TYPES[kind](**fields)
    if isinstance(message, Chunk):
        return replace(message, table=pa.ipc.open_stream(row["samples"][0].as_buffer()).read_all())
    return message
