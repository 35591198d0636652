"""Counts the rows of an output set that meet a condition, by reading their Parquet files one after another."""

import io
from collections.abc import Iterable

import pyarrow as pa

from pipelines.inputs.row_filter import RowFilter
from schemas.errors import ShardloomError, UsageError
from schemas.output_set.layout import DATA, INDEX, read_output
from schemas.output_set.manifest import Manifest, OutputFile
from schemas.storage.folder import Folder
from schemas.storage.parquet import UnreadableParquet, read_table


def count_matching(folder: Folder, manifests: Iterable[Manifest], where: str) -> int:
    """Returns the number of rows for which the condition is true: of training shards, rows of their indexes.

    Raises `UsageError` for text that is no condition on these rows, and for a set without such files.
    """
    condition = RowFilter.parse(where)
    files = [file for manifest in manifests if (file := _find_rows(manifest)) is not None]
    if not files:
        raise UsageError(f"--where: {folder.url} has no rows in Parquet files to look at")
    count = 0
    for number, file in enumerate(files):
        path = folder.resolve_path(file.path)
        data = io.BytesIO(read_output(folder, file.path, file.sha256, file.size))
        try:
            table = read_table(data, path=path)
        except (pa.ArrowException, UnreadableParquet) as error:
            raise ShardloomError(f"{path} cannot be read: {error}: verify the set") from None
        if not number:
            condition.check_columns(table.schema)
        count += condition.apply(table).num_rows
    return count


def _find_rows(manifest: Manifest) -> OutputFile | None:
    """Returns the file with the rows of an output: its index, or else its data."""
    files = {file.path: file for file in manifest.outputs}
    paths = (f"{folder}/{manifest.name}.parquet" for folder in (INDEX, DATA))
    return next((files[path] for path in paths if path in files), None)
