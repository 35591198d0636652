"""Reads images through a JSON map of URLs to the names of files beside it."""

import hashlib
from collections.abc import Sequence
from typing import Any

from pipelines.cluster.runner import Runner
from pipelines.ingest.stores.folder import get_local_size, read_below
from pipelines.ingest.stores.store import compute_revision
from schemas.compression import SIGNATURE_BYTES, check_uncompressed
from schemas.errors import StorageError, UsageError
from schemas.json_text import parse_object
from schemas.output_set.manifest import InputFile
from schemas.storage.folder import Folder, split_path

MAX_MAP = 1 << 30  # bytes of a map's file; it is kept as a dict, so use shards for millions of URLs


class MapStore:
    """Maps URLs to files beside a JSON object `{url: name}` or `{url: {"file": name, ...}}`; an `ImageStore`.

    Its revision covers the map and, on a local disk, the sizes of the files it names: half a minute per million. On an
    object store that would take one request per file; there, the replacement of a file is not detected.
    """

    damage: Sequence[str] = ()

    def __init__(self, path: str) -> None:
        self._folder, name = split_path(path)
        try:
            data = self._folder.read(name)
        except StorageError as error:
            raise UsageError(f"images: {error}") from None
        check_uncompressed(path, data[:SIGNATURE_BYTES])
        try:
            entries = parse_object(data, "it", MAX_MAP)
        except ValueError as error:
            raise UsageError(f"images: {path} is not a map of URLs to files: {error}") from None
        self._files = {url: _get_file(entry) for url, entry in entries.items()}
        wrong = next((url for url, file in self._files.items() if not file), None)
        if wrong is not None:
            raise UsageError(
                f'images: {path} is not a map of URLs to files: {wrong[:80]} is neither a name nor {{"file"}}'
            )
        self.revision = InputFile(path=path, size=len(data), sha256=hashlib.sha256(data).hexdigest())
        if self._folder.is_local:
            files = sorted({file for file in self._files.values() if file is not None})
            sizes = [(file, get_local_size(self._folder, file)) for file in files]
            self.revision = compute_revision(path, [(self.revision.sha256, len(data)), *sizes])

    def prepare(self, output: Folder, runner: Runner) -> None:
        """Does nothing: the map is already loaded."""

    def get(self, address: str) -> bytes | None:
        """See `ImageStore`."""
        name = self._files.get(address)
        return None if name is None else read_below(self._folder, name)


def _get_file(entry: Any) -> str | None:
    file = entry.get("file") if isinstance(entry, dict) else entry
    return file if isinstance(file, str) else None
