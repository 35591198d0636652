"""Writes the files of an output set (docs/design.md). Files take effect only once a manifest names them."""

import hashlib
import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.output_set.layout import MANIFESTS, QUARANTINE
from schemas.output_set.manifest import Manifest, OutputFile
from schemas.records.quarantine import QUARANTINE_SCHEMA, QuarantinedRow, make_quarantine_table
from schemas.storage.folder import Folder


def commit(output: Folder, manifest: Manifest) -> None:
    """Commits an output, whose files exist, by its manifest. Raises `StorageError` if another run has committed it."""
    output.write_new(f"{MANIFESTS}/{manifest.name}.json", manifest.to_json())


def write_output(output: Folder, name: str, data: bytes, rows: int) -> OutputFile:
    """Writes one output file and returns its manifest entry. Hashes `data` itself, not what the disk reads back."""
    output.write(name, data)
    return OutputFile(path=name, rows=rows, size=len(data), sha256=hashlib.sha256(data).hexdigest())


def write_quarantine(output: Folder, name: str, rows: Sequence[QuarantinedRow]) -> OutputFile:
    """Writes the rows that an output has left out, with their reasons."""
    data = encode_parquet([make_quarantine_table(rows)], QUARANTINE_SCHEMA)
    return write_output(output, f"{QUARANTINE}/{name}.parquet", data, len(rows))


def encode_parquet(groups: list[pa.Table], schema: pa.Schema) -> bytes:
    """Returns a Parquet file, compressed by zstd, with one row group a table. The same tables give the same bytes."""
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for table in groups:
            if table.num_rows:
                writer.write_table(table, row_group_size=table.num_rows)
    return sink.getvalue()
