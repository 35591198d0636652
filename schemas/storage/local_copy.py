"""Copies a file of a store to the local disk, for libraries that map it into memory or read it at random."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from schemas.errors import StorageError
from schemas.storage.folder import Folder


@contextlib.contextmanager
def open_local_copy(folder: Folder, name: str) -> Iterator[Path]:
    """Yields a local path of the file. A local file is not copied; a copy is removed after the block.

    A memory map of the copy stays valid after its removal. Raises `StorageError` if the local disk cannot hold the
    copy.
    """
    if folder.is_local:
        yield folder.get_local_path(name)
        return
    with tempfile.NamedTemporaryFile(prefix="shardloom-", buffering=0) as copy:
        path = Path(copy.name)
        with folder.open(name) as distant:
            while data := distant.read(8 << 20):
                try:
                    copy.write(data)
                except OSError as error:
                    message = f"cannot keep a copy of {folder.resolve_path(name)} in {path.parent}: {error.strerror}"
                    raise StorageError(message) from None
        yield path


def hash_local_file(path: Path) -> tuple[int, str]:
    """Returns the size in bytes and the sha256 of a file on the local disk."""
    return Folder(str(path.parent)).hash_file(path.name)
