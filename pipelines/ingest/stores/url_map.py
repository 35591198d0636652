"""Images beside a JSON map of URLs to file names."""

import hashlib
from typing import Any

from pipelines.cluster.runner import Runner
from pipelines.ingest.stores.folder import local_size, read_below
from pipelines.ingest.stores.store import revision_of
from schemas.compression import START, check_uncompressed
from schemas.errors import UsageError
from schemas.json_text import parse_object
from schemas.output_set.manifest import InputFile
from schemas.storage.folder import Folder, split

MAX_MAP = 1 << 30  # bytes of a map's file; it is held as a dict, so that millions of URLs are better kept in shards


class MapStore:
    """A JSON object of URLs and the names of files beside it: `{url: name}`, or `{url: {"file": name, ...}}`.

    Its revision is that of the map, and on a local disk the sizes of the files that it names: half a minute a million.
    On an object store that would be a request for each; there, a file that is replaced by another one goes unnoticed.
    """

    def __init__(self, path: str) -> None:
        self._folder, name = split(path)
        data = self._folder.read(name)
        check_uncompressed(path, data[:START])
        try:
            entries = parse_object(data, "it", MAX_MAP)
        except ValueError as error:
            raise UsageError(f"images: {path} is no map of URLs to files: {error}") from None
        self._files = {url: _file_of(entry) for url, entry in entries.items()}
        wrong = next((url for url, file in self._files.items() if not file), None)
        if wrong is not None:
            raise UsageError(
                f'images: {path} is no map of URLs to files: {wrong[:80]} is neither a name nor {{"file"}}'
            )
        self.revision = InputFile(path=path, size=len(data), sha256=hashlib.sha256(data).hexdigest())
        if self._folder.is_local:
            files = sorted({file for file in self._files.values() if file is not None})
            sizes = [(file, local_size(self._folder, file)) for file in files]
            self.revision = revision_of(path, [(self.revision.sha256, len(data)), *sizes])

    def prepare(self, output: Folder, runner: Runner) -> None:
        """Nothing."""

    def get(self, address: str) -> bytes | None:
        """See `ImageStore`."""
        name = self._files.get(address)
        return None if name is None else read_below(self._folder, name)


def _file_of(entry: Any) -> str | None:
    file = entry.get("file") if isinstance(entry, dict) else entry
    return file if isinstance(file, str) else None
