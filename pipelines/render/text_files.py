"""Reads the text files that a rendering recipe names, from a path or a URL."""

from pathlib import Path

from schemas.errors import StorageError, UsageError
from schemas.storage.folder import split_path


def read_text_file(name: str, what: str, max_bytes: int) -> bytes:
    """Reads a file, of at most one byte more than `max_bytes` if it is local. Raises `UsageError`, which names `what`.

    The caller refuses a file that is too large.
    """
    try:
        if "://" in name:
            folder, path = split_path(name)
            return folder.read(path)
        with Path(name).open("rb") as file:
            return file.read(max_bytes + 1)
    except StorageError as error:
        raise UsageError(f"{what}: {error}") from None
    except OSError as error:
        raise UsageError(f"cannot read {what} {name}: {error.strerror}") from None
