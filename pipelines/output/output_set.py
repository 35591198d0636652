"""An output set: the folder that every command writes (DESIGN.md §4). Only a manifest counts."""

import contextlib
import fcntl
import hashlib
import io
import os
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.output.claim import claim
from pipelines.recipes.base import Recipe
from schemas.errors import UsageError
from schemas.output_set.layout import MANIFESTS
from schemas.output_set.manifest import Manifest, OutputFile
from schemas.storage.folder import Folder


@contextlib.contextmanager
def begun(output: Folder, recipe: Recipe) -> Iterator[None]:
    """Takes the folder for this recipe, and on a local disk for this process alone."""
    if not output.is_local:
        claim(output, recipe)
        yield
        return
    with locked(output):
        claim(output, recipe)
        output.clear_temporary()
        yield


@contextlib.contextmanager
def locked(output: Folder) -> Iterator[None]:
    """Keeps other processes out of a local folder. The lock goes when the process does, however it does.

    The folder itself is locked: a file in it could be replaced by another one between its writing and its locking.
    """
    output.make()
    folder = os.open(output.local_path(""), os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(folder)
        raise UsageError(f"another run is writing to {output.url}") from None
    except OSError:
        pass  # a file system that knows no locks, as some networks' don't: there it is as on an object store
    try:
        yield
    finally:
        os.close(folder)


def commit(output: Folder, manifest: Manifest) -> None:
    """Makes an output count. Its files must be in place. Raises `StorageError` when another run has committed it."""
    output.write_new(f"{MANIFESTS}/{manifest.name}.json", manifest.to_json())


def put(output: Folder, name: str, data: bytes, rows: int) -> OutputFile:
    """Writes one output file and says what it is. Hashes what was handed over, not what a disk gives back."""
    output.write(name, data)
    return OutputFile(path=name, rows=rows, size=len(data), sha256=hashlib.sha256(data).hexdigest())


def parquet_bytes(groups: list[pa.Table], schema: pa.Schema) -> bytes:
    """A Parquet file with one row group a table. The same tables give the same bytes."""
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for table in groups:
            if table.num_rows:
                writer.write_table(table, row_group_size=table.num_rows)
    return sink.getvalue()
