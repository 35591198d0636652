"""Writes training shards of captioned images, documents or texts, each with its index: WebDataset tars, or Parquet."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from curation.tokens import TokenCounter
from pipelines.output.output_set import parquet_bytes, put
from schemas.output_set.layout import DATA, INDEX, QUARANTINE
from schemas.output_set.manifest import OutputFile
from schemas.output_set.shard_index import Kind, index_schema
from schemas.records import document, training_shard
from schemas.records.document import Document, Part, to_members, to_row
from schemas.records.quarantine import QUARANTINE as QUARANTINE_SCHEMA
from schemas.records.training_shard import CaptionedImage
from schemas.storage.folder import Folder
from schemas.tar.header import BLOCK
from schemas.tar.writer import TarWriter

ShardFormat = Literal["webdataset", "parquet"]

# What a reader of Parquet must hold to get at one sample.
GROUP_ROWS = 64
GROUP_BYTES = 32 << 20

_DETAILS = ("width", "height", "sha256")


@dataclass(frozen=True, slots=True)
class Sample:
    """A record laid out as it is stored. `members` are its endings and bytes, in their order in a tar."""

    record: CaptionedImage | Document
    members: list[tuple[str, bytes]]

    @classmethod
    def of(cls, record: CaptionedImage | Document) -> "Sample":
        """Raises `ValueError` for a document that is none."""
        return cls(record, to_members(record) if isinstance(record, Document) else record.members())

    @property
    def size(self) -> int:
        """Bytes that it takes in a tar; in Parquet, about as many."""
        return sum(BLOCK + padded(len(data)) for _, data in self.members)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Its texts and the numbers of its images, in the order in which they are read."""
        if isinstance(self.record, Document):
            return self.record.parts
        return (0, self.record.text) if self.record.text else (0,)

    @property
    def texts(self) -> list[str]:
        """All its texts."""
        return [part for part in self.parts if isinstance(part, str)]

    @property
    def kind(self) -> Kind:
        """What it is."""
        if isinstance(self.record, CaptionedImage):
            return "captioned_image"
        if self.record.roles is not None:
            return "conversation"
        return "document" if self.record.images else "text"


@dataclass(frozen=True, slots=True)
class Written:
    """What `write_shard` has written."""

    data: OutputFile
    index: OutputFile
    counts: dict[str, int]  # over all samples


@dataclass(frozen=True, slots=True)
class ShardWriter:
    """How the shards of a set are written."""

    output: Folder
    format: ShardFormat
    is_captions: bool  # captioned images, or documents: a shard without samples has a schema too
    source: str  # the set's name in the index
    counter: TokenCounter | None = None

    def write(self, name: str, samples: Iterable[Sample]) -> Written:
        """Writes one shard and its index; they count once a manifest says so."""
        rows: list[dict[str, Any]] = []
        if self.format == "webdataset":
            data = self._write_tar(f"{DATA}/{name}.tar", samples, rows)
        else:
            data = self._write_parquet(f"{DATA}/{name}.parquet", samples, rows)
        schema = index_schema(self.counter.fingerprint if self.counter else None)
        index = pa.Table.from_pylist(rows, schema=schema)
        written = put(self.output, f"{INDEX}/{name}.parquet", parquet_bytes([index], schema), len(rows))
        counted = ["characters", "images", *(["tokens"] if self.counter else [])]
        counts = {name: sum(row[name] for row in rows) for name in counted}
        return Written(data, written, counts | {"empty_texts": sum(not row["characters"] for row in rows)})

    def _write_tar(self, path: str, samples: Iterable[Sample], rows: list[dict[str, Any]]) -> OutputFile:
        with self.output.create(path) as file:
            writer = TarWriter(file)
            for sample in samples:
                start, members = writer.size, []
                for ending, data in sample.members:
                    offset = writer.add(f"{sample.record.key}.{ending}", data)
                    members.append({"ending": ending, "offset": offset, "size": len(data)})
                rows.append(self._index_row(sample) | span(start, members))
            sha256 = writer.close()
        return OutputFile(path=path, rows=len(rows), size=writer.size, sha256=sha256)

    def _write_parquet(self, path: str, samples: Iterable[Sample], rows: list[dict[str, Any]]) -> OutputFile:
        schema = training_shard.PARQUET if self.is_captions else document.PARQUET
        # images don't compress; dictionaries and statistics of theirs cost time and tell nothing
        options = {"compression": "none", "use_dictionary": False, "write_statistics": ["key"]}
        with self.output.create(path) as file, pq.ParquetWriter(file, schema, **options) as writer:
            for group in groups(samples):
                rows += [self._index_row(sample) for sample in group]
                writer.write_table(pa.Table.from_pylist([row_of(sample.record) for sample in group], schema=schema))
        size, sha256 = self.output.sha256(path)
        return OutputFile(path=path, rows=len(rows), size=size, sha256=sha256)

    def _index_row(self, sample: Sample) -> dict[str, Any]:
        """What the index says of a sample, but for where it lies in a tar."""
        images = sample.record.images if isinstance(sample.record, Document) else [sample.record]
        tokens = self._part_tokens(sample)
        return {
            "key": sample.record.key,
            "uid": sample.record.uid or None,
            "source": self.source,
            "kind": sample.kind,
            "images": len(images),
            "image_details": [
                {name: getattr(image, name) for name in ("width", "height", "sha256")} for image in images
            ],
            "characters": sum(map(len, sample.texts)),
            "tokens": None if tokens is None else sum(filter(None, tokens)),
            "part_tokens": tokens,
            "roles": sample.record.roles if isinstance(sample.record, Document) else None,
        }

    def _part_tokens(self, sample: Sample) -> list[int | None] | None:
        if self.counter is None:
            return None
        return [self.counter.count([part]) if isinstance(part, str) else None for part in sample.parts]


def put_quarantine(output: Folder, name: str, rows: list[dict[str, str | None]]) -> OutputFile:
    """Writes the rows that a shard has left out."""
    table = pa.Table.from_pylist(rows, schema=QUARANTINE_SCHEMA)
    data = parquet_bytes([table], QUARANTINE_SCHEMA)
    return put(output, f"{QUARANTINE}/{name}.parquet", data, table.num_rows)


def span(start: int, members: list[dict[str, Any]]) -> dict[str, Any]:
    """Where a sample lies in a tar, from its first header, at `start`, to the end of its last member's padding."""
    end = max(member["offset"] + padded(member["size"]) for member in members)
    return {"offset": start, "size": end - start, "members": members}


def padded(size: int) -> int:
    """Bytes that a file of this size takes in a tar, without its header."""
    return size + -size % BLOCK


def row_of(record: CaptionedImage | Document) -> dict[str, Any]:
    """A record's row in Parquet."""
    return to_row(record) if isinstance(record, Document) else record.row()


def groups(samples: Iterable[Sample]) -> Iterator[list[Sample]]:
    """Runs of samples that make a row group: at most `GROUP_ROWS`, and `GROUP_BYTES` unless one alone is larger."""
    held: list[Sample] = []
    size = 0
    for sample in samples:
        if held and (len(held) == GROUP_ROWS or size + sample.size > GROUP_BYTES):
            yield held
            held, size = [], 0
        held.append(sample)
        size += sample.size
    if held:
        yield held
