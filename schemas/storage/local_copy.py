"""A file of a store on this machine's disk, for libraries that map it into memory or read it here and there."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from schemas.errors import StorageError
from schemas.storage.folder import Folder


@contextlib.contextmanager
def local_copy(folder: Folder, name: str) -> Iterator[Path]:
    """The file's path here. Of a local file there is no copy; a mapping of one outlives its name."""
    if folder.is_local:
        yield folder.local_path(name)
        return
    with tempfile.NamedTemporaryFile(prefix="shardloom-", buffering=0) as copy:
        path = Path(copy.name)
        with folder.open(name) as distant:
            while data := distant.read(8 << 20):
                try:
                    copy.write(data)
                except OSError as error:
                    told = f"cannot keep a copy of {folder.path(name)} in {path.parent}: {error.strerror}"
                    raise StorageError(told) from None
        yield path


def size_and_hash(path: Path) -> tuple[int, str]:
    """Bytes and sha256 of a file on this machine's disk."""
    return Folder(str(path.parent)).sha256(path.name)
