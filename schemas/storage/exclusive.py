"""Creates a file that exactly one of several processes may create, on a local disk and on an object store."""

import os
from pathlib import Path

from schemas.errors import StorageError
from schemas.storage.file_system import describe_os_error
from schemas.storage.folder import AlreadyWritten, Folder


def create_exclusively(folder: Folder, name: str, data: bytes) -> bool:
    """Creates the file and returns True; returns False if it exists.

    `O_EXCL` decides on a local disk, also on NFS, and a conditional PUT on an object store. On a disk another process
    may see the file before its content. A store without conditional writes may let several processes through.
    """
    if not folder.is_local:
        try:
            folder.write_new(name, data)
        except AlreadyWritten:
            return False
        return True
    try:
        with open(_open_new(folder.get_local_path(name)), "wb") as file:
            file.write(data)
    except FileExistsError:
        return False
    except OSError as error:
        raise StorageError(f"cannot write {folder.resolve_path(name)}: {describe_os_error(error)}") from None
    return True


def _open_new(path: Path) -> int:
    """Creates the file and its folder. Tries again when another process removes the folder in between."""
    for is_last in (False, False, True):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileNotFoundError:
            if is_last:
                raise
    raise AssertionError("the last try returns or raises")
