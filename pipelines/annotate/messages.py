"""What travels through the graph, each as ONE row of Ray Data.

Ray Data splits and merges blocks by rows and bytes as it sees fit; a single row it can do neither to, so one chunk
stays one block from reader to sink. Its samples are an Arrow stream in a binary column, whose size Ray's memory
accounting knows (object columns it doesn't: they look empty to it).
"""

import json
from dataclasses import asdict, dataclass, field, replace

import pyarrow as pa

from pipelines.cluster.failure import Failure

ROW = pa.schema([pa.field("message", pa.string(), nullable=False), pa.field("samples", pa.large_binary())])


@dataclass(frozen=True, slots=True)
class Chunk:
    """Samples to work on, with what has become of them so far."""

    shard: str
    index: int
    digest: str  # of the samples' bytes: a part is valid for these and no others
    size: int  # bytes of the samples: what progress is measured in
    table: pa.Table | None = None  # always set, but for the moment in which it is encoded


@dataclass(frozen=True, slots=True)
class Written:
    """A chunk whose part is in place."""

    shard: str
    index: int
    size: int
    rows: int = 0  # worked on in this run: none when the part was there already
    reasons: dict[str, int] = field(default_factory=dict)  # for leaving rows out -> rows
    engine_errors: dict[str, int] = field(default_factory=dict)  # engine -> images that it failed on
    resent: int = 0  # requests to the object store that were sent again since this worker said so last


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
    resent: int = 0  # as of `Written`
    hidden: int = 0  # files of other programs in the tar, which were passed over


Message = Chunk | Written | ShardEnd | Failure

_KINDS: dict[str, type[Message]] = {kind.__name__: kind for kind in (Chunk, Written, ShardEnd, Failure)}


def to_row(message: Message) -> pa.Table:
    """The message as a block of one row."""
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
    return pa.Table.from_arrays([pa.array([text]), samples], schema=ROW)


def from_row(row: pa.Table) -> Message:
    """The message in a block; a chunk's table shares the block's memory."""
    assert row.num_rows == 1, "a message is one row is one block"
    kind, fields = json.loads(row["message"][0].as_py())
    message = _KINDS[kind](**fields)
    if isinstance(message, Chunk):
        return replace(message, table=pa.ipc.open_stream(row["samples"][0].as_buffer()).read_all())
    return message
