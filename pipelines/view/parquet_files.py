"""Reads the Parquet files of a set, each checked against its manifest."""

import io

import pyarrow as pa

from pipelines.view.source import SetSource
from schemas.errors import ShardloomError
from schemas.output_set.layout import DATA, read_output
from schemas.output_set.manifest import Manifest, OutputFile
from schemas.storage.parquet import UnreadableParquet, read_table
from schemas.storage.row_objects import TooManyEntries, check_entries


def find_file(manifest: Manifest, folder: str) -> OutputFile | None:
    """Returns the Parquet file of a manifest in `data`, `index` or `quarantine`; None if it has none."""
    path = f"{folder}/{manifest.name}.parquet"
    return next((file for file in manifest.outputs if file.path == path), None)


def list_data_files(source: SetSource) -> list[str]:
    """Returns the names of the outputs that have rows in a Parquet file."""
    found = ((name, find_file(manifest, DATA)) for name, manifest in source.manifests.items())
    return [name for name, file in found if file is not None and file.rows]


def read_file(source: SetSource, name: str, folder: str = DATA) -> pa.Table:
    """Reads the Parquet file of an output. Raises `ShardloomError` if it is not as it was committed."""
    file = find_file(source.manifests[name], folder)
    assert file is not None, "the caller has listed the files"
    path = source.folder.resolve_path(file.path)
    try:
        table = read_table(io.BytesIO(read_output(source.folder, file.path, file.sha256, file.size)), path=path)
        check_entries(table)
        return table
    except (pa.ArrowException, UnreadableParquet, TooManyEntries) as error:
        raise ShardloomError(f"{path} cannot be read: {error}: verify the set") from None


def list_tars(manifest: Manifest) -> list[str]:
    """Returns the paths of the tars that an output was made from."""
    return [one.path for one in manifest.inputs if one.path.endswith(".tar")]
