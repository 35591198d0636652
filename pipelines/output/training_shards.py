"""Writes training shards of captioned images, documents or texts, as WebDataset tars or Parquet, each with an index."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from curation.tokens import TokenCounter
from pipelines.output.writer import encode_parquet, write_output
from schemas.output_set.layout import DATA, INDEX
from schemas.output_set.manifest import OutputFile
from schemas.output_set.shard_index import SampleKind, index_schema
from schemas.records import captioned_image, document_storage
from schemas.records.captioned_image import CaptionedImage
from schemas.records.document import Document, Part
from schemas.records.document_storage import to_members, to_row
from schemas.records.fingerprint import EngineFingerprint
from schemas.storage.folder import Folder
from schemas.tar.header import BLOCK
from schemas.tar.writer import TarWriter

ShardFormat = Literal["webdataset", "parquet"]
Record = CaptionedImage | Document

# Bounds of a row group, which a reader of Parquet must hold to read one sample.
GROUP_ROWS = 64
GROUP_BYTES = 32 << 20

_NO_LOCATION = {"offset": None, "size": None, "members": None}  # a sample's place in the index of a Parquet shard
_IMAGE_DETAILS = ("width", "height", "sha256")


@dataclass(frozen=True, slots=True)
class Sample:
    """Holds a sample in its stored form, for a shard of either format and for the index."""

    key: str
    members: Sequence[tuple[str, bytes]]
    """The endings and bytes of its members, in their order in a tar."""
    index: Mapping[str, Any]
    """Its row of the index, without its place in the shard; with `references` to images that are no members."""
    make_row: Callable[[], dict[str, Any]]
    """Returns its row in Parquet."""

    @property
    def size(self) -> int:
        """Returns the bytes that it takes in a tar; in Parquet it takes about as many."""
        return sum(BLOCK + pad_size(len(data)) for _, data in self.members)


@dataclass(frozen=True, slots=True)
class WrittenShard:
    """Describes what a writer has written: the shard, its index, and the rows of the index."""

    data: OutputFile
    index: OutputFile
    rows: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class ShardWriter:
    """Writes the shards of a set."""

    output: Folder
    format: ShardFormat
    has_captioned_images: bool  # else documents: a shard without samples needs a schema too
    tokenizer: EngineFingerprint | None  # that counted the index's tokens; None where they are not counted
    by_reference: bool = False  # the index may refer to images in other tars

    def write(self, name: str, samples: Iterable[Sample]) -> WrittenShard:
        """Writes one shard and its index. They take effect once a manifest names them."""
        rows: list[dict[str, Any]] = []
        if self.format == "webdataset":
            data = self._write_tar(f"{DATA}/{name}.tar", samples, rows)
        else:
            data = self._write_parquet(f"{DATA}/{name}.parquet", samples, rows)
        schema = index_schema(self.tokenizer, self.by_reference)
        index = encode_parquet([pa.Table.from_pylist(rows, schema=schema)], schema)
        return WrittenShard(data, write_output(self.output, f"{INDEX}/{name}.parquet", index, len(rows)), rows)

    def _write_tar(self, path: str, samples: Iterable[Sample], rows: list[dict[str, Any]]) -> OutputFile:
        with self.output.create(path) as file:
            writer = TarWriter(file)
            for sample in samples:
                start, members = writer.size, []
                for ending, data in sample.members:
                    offset = writer.add(f"{sample.key}.{ending}", data)
                    members.append({"ending": ending, "offset": offset, "size": len(data)})
                rows.append({**sample.index, **make_span(start, members)})
            sha256 = writer.close()
        return OutputFile(path=path, rows=len(rows), size=writer.size, sha256=sha256)

    def _write_parquet(self, path: str, samples: Iterable[Sample], rows: list[dict[str, Any]]) -> OutputFile:
        schema = captioned_image.PARQUET_SCHEMA if self.has_captioned_images else document_storage.PARQUET_SCHEMA
        # images don't compress, and their dictionaries and statistics cost time for no use
        options = {"compression": "none", "use_dictionary": False, "write_statistics": ["key"]}
        with self.output.create(path) as file, pq.ParquetWriter(file, schema, **options) as writer:
            for group in group_samples(samples):
                rows += [{**sample.index, **_NO_LOCATION} for sample in group]
                writer.write_table(pa.Table.from_pylist([sample.make_row() for sample in group], schema=schema))
        size, sha256 = self.output.hash_file(path)
        return OutputFile(path=path, rows=len(rows), size=size, sha256=sha256)


def make_sample(record: Record, source: str, counter: TokenCounter | None) -> Sample:
    """Returns the stored form of a record of the set `source`. Raises `ValueError` for an invalid document.

    The index gets token counts only where there is a `counter`.
    """
    parts = list_parts(record)
    texts = [part for part in parts if isinstance(part, str)]
    images = record.images if isinstance(record, Document) else [record]
    tokens = None
    if counter is not None:
        tokens = [counter.count([part]) if isinstance(part, str) else None for part in parts]
    index = {
        "key": record.key,
        "uid": record.uid or None,
        "source": source,
        "kind": get_kind(record),
        "images": len(images),
        "image_details": [{name: getattr(image, name) for name in _IMAGE_DETAILS} for image in images],
        "characters": sum(map(len, texts)),
        "tokens": None if tokens is None else sum(filter(None, tokens)),
        "part_tokens": tokens,
        "roles": record.roles if isinstance(record, Document) else None,
    }
    members = to_members(record) if isinstance(record, Document) else record.to_members()
    return Sample(record.key, members, index, lambda: to_parquet_row(record))


def list_parts(record: Record) -> tuple[Part, ...]:
    """Returns a record's texts and the numbers of its images, in reading order."""
    if isinstance(record, Document):
        return record.parts
    return (0, record.text) if record.text else (0,)


def get_kind(record: Record) -> SampleKind:
    """Returns the index's name for the kind of a record."""
    if isinstance(record, CaptionedImage):
        return "captioned_image"
    if record.roles is not None:
        return "conversation"
    return "document" if record.images else "text"


def to_parquet_row(record: Record) -> dict[str, Any]:
    """Returns a record's row in Parquet."""
    return to_row(record) if isinstance(record, Document) else record.to_row()


def sum_counts(rows: list[dict[str, Any]], *, with_tokens: bool) -> dict[str, int]:
    """Returns the measures of a shard's index, summed over its samples."""
    counted = ["characters", "images", *(["tokens"] if with_tokens else [])]
    counts = {name: sum(row[name] for row in rows) for name in counted}
    return counts | {"empty_texts": sum(not row["characters"] for row in rows)}


def make_span(start: int, members: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns a sample's place in a tar, from its first header, at `start`, to the end of its last member's padding."""
    end = max(member["offset"] + pad_size(member["size"]) for member in members)
    return {"offset": start, "size": end - start, "members": members}


def pad_size(size: int) -> int:
    """Returns the bytes that a file of this size takes in a tar, without its header."""
    return size + -size % BLOCK


def group_samples(samples: Iterable[Sample]) -> Iterator[list[Sample]]:
    """Yields the samples of each row group: at most `GROUP_ROWS`, and `GROUP_BYTES` unless one sample is larger."""
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
