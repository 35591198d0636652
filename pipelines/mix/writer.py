"""Writes the shards of a mixture: members byte for byte as they were, and index rows carried over, under new keys.

In Parquet a set has one schema. So where there are documents among the sources, captioned images become documents as
well: the image, then its caption.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation.mixture.reader import Found, read_samples, record_of
from pipelines.output.output_set import parquet_bytes, put
from pipelines.output.training_shards import Sample, ShardFormat, Written, groups, row_of, span
from schemas.output_set.layout import DATA, INDEX
from schemas.output_set.manifest import OutputFile
from schemas.output_set.shard_index import INDEX as SCHEMA
from schemas.output_set.shard_index import index_schema
from schemas.records import document, training_shard
from schemas.records.document import Document, DocumentImage
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.training_shard import CaptionedImage
from schemas.storage.folder import Folder
from schemas.tar.writer import TarWriter

DETAILS = ("source_shard", "source_key", "alt_text", "captions", "metadata")  # of a captioned image, in a document


@dataclass(frozen=True, slots=True)
class MixWriter:
    """How the shards of a mixture are written."""

    output: Folder
    format: ShardFormat
    is_captions: bool  # captioned images alone
    tokenizer: EngineFingerprint | None  # None: not all tokens were counted, and by the same

    def write(self, name: str, samples: pa.Table) -> Written:
        """Writes one shard and its index, of rows as `read_samples` takes them, each with the `name` of its source."""
        found = read_samples(samples)
        rows: list[dict[str, Any]] = []
        if self.format == "webdataset":
            data = self._write_tar(f"{DATA}/{name}.tar", name, found, rows)
        else:
            data = self._write_parquet(f"{DATA}/{name}.parquet", name, found, rows)
        schema = index_schema(self.tokenizer)
        index = put(
            self.output,
            f"{INDEX}/{name}.parquet",
            parquet_bytes([pa.Table.from_pylist(rows, schema=schema)], schema),
            len(rows),
        )
        return Written(data, index, counted(rows))

    def _write_tar(self, path: str, name: str, found: Iterator[Found], rows: list[dict[str, Any]]) -> OutputFile:
        with self.output.create(path) as file:
            writer = TarWriter(file)
            for sample in found:
                key, start, members = f"{name}{len(rows):06d}", writer.size, []
                for ending, data in sample.members:
                    offset = writer.add(f"{key}.{ending}", data)
                    members.append({"ending": ending, "offset": offset, "size": len(data)})
                rows.append(self._index_row(sample, key) | span(start, members))
            sha256 = writer.close()
        return OutputFile(path=path, rows=len(rows), size=writer.size, sha256=sha256)

    def _write_parquet(self, path: str, name: str, found: Iterator[Found], rows: list[dict[str, Any]]) -> OutputFile:
        schema = training_shard.PARQUET if self.is_captions else document.PARQUET
        options = {"compression": "none", "use_dictionary": False, "write_statistics": ["key"]}
        with self.output.create(path) as file, pq.ParquetWriter(file, schema, **options) as writer:
            for group in groups(self._laid_out(name, found, rows)):
                writer.write_table(pa.Table.from_pylist([row_of(sample.record) for sample in group], schema=schema))
        size, sha256 = self.output.sha256(path)
        return OutputFile(path=path, rows=len(rows), size=size, sha256=sha256)

    def _laid_out(self, name: str, found: Iterator[Found], rows: list[dict[str, Any]]) -> Iterator[Sample]:
        nowhere = {"offset": None, "size": None, "members": None}
        for sample in found:
            key = f"{name}{len(rows):06d}"
            record = record_of(sample.row, sample.members, key)
            row = self._index_row(sample, key) | nowhere
            if isinstance(record, CaptionedImage) and not self.is_captions:
                record, row = as_document(record, sample.row["source"]), row | {"kind": "document"}
            rows.append(row)
            yield Sample(record, sample.members)

    def _index_row(self, sample: Found, key: str) -> dict[str, Any]:
        """The sample's row in the index, but for where it lies in a tar."""
        row = {name: sample.row[name] for name in SCHEMA.names}
        uncounted = {} if self.tokenizer else {"tokens": None, "part_tokens": None}
        return row | {"key": key, "source": sample.row["name"]} | uncounted


def as_document(image: CaptionedImage, source: str) -> Document:
    """The image, then its caption if there is one; all else that is known of it is in the metadata."""
    url = image.url or None
    shown = DocumentImage(image.image, image.extension, image.width, image.height, image.sha256, url, "{}")
    return Document(
        key=image.key,
        uid=image.uid or None,
        source=source,
        url=None,
        parts=(0, image.text) if image.text else (0,),
        images=(shown,),
        metadata=json.dumps({name: getattr(image, name) for name in DETAILS}, ensure_ascii=False),
    )


def counted(rows: list[dict[str, Any]]) -> dict[str, int]:
    """Counts over all samples, and over those of each source, as `source.images`."""
    counts: Counter[str] = Counter()
    for row in rows:
        measures = {name: row[name] for name in ("tokens", "images", "characters") if row[name] is not None}
        counts.update(measures | {"empty_texts": int(not row["characters"])})
        counts.update({f"{row['source']}.{name}": count for name, count in measures.items()})
        counts[f"{row['source']}.samples"] += 1
    return dict(sorted(counts.items()))
