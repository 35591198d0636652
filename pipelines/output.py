"""An output set: the folder that every command writes (DESIGN.md §4). Only a manifest counts."""

import contextlib
import fcntl
import hashlib
import io
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.recipe import RECIPE_FILE, Recipe, claim
from pipelines.storage import TEMPORARY, Folder
from schemas.errors import UsageError
from schemas.manifest import Manifest, OutputFile

DATA, INDEX, QUARANTINE, MANIFESTS, PARTS = "data", "index", "quarantine", "manifests", "parts"
STATS = "stats.json"


@contextlib.contextmanager
def begun(output: Folder, recipe: Recipe) -> Iterator[None]:
    """Takes the folder for this recipe, and on a local disk for this process alone."""
    claim(output, recipe)
    if not output.is_local:
        yield
        return
    with output.local_path(RECIPE_FILE).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # goes when the process does, however it does
        except OSError:
            raise UsageError(f"another run is writing to {output.url}") from None
        for leftover in output.local_path("").rglob(f"*{TEMPORARY}*"):
            leftover.unlink(missing_ok=True)
        yield


def committed(output: Folder) -> dict[str, Manifest]:
    """The manifests of an output set by name. Raises `UsageError` for one that is not what was written."""
    manifests = {}
    for name in output.names(MANIFESTS):
        try:
            manifests[name.removesuffix(".json")] = Manifest.from_json(output.read(f"{MANIFESTS}/{name}"))
        except ValueError as error:
            raise UsageError(f"{output.path(MANIFESTS)}/{name}: {error}") from None
    return manifests


def commit(output: Folder, manifest: Manifest) -> None:
    """Makes an output count. Its files must be in place."""
    output.write(f"{MANIFESTS}/{manifest.name}.json", manifest.to_json())


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
