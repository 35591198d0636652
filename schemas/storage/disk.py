"""Writes and removes files on a local disk, so that a file exists complete or not at all."""

import contextlib
import errno
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

TEMPORARY = ".tmp-"

GiveName = Callable[[Path, Path], Any]
"""Gives a temporary file its name: `Path.replace`, or `link_new` where the name must be free."""


def write_file(target: Path, data: bytes, give_name: GiveName) -> None:
    """Writes a file as `create_file` does.

    Tries again when another process that shares the folder removes the sub-folder or the temporary file meanwhile.
    """
    for is_last in (False, False, True):
        try:
            with create_file(target, give_name) as file:
                file.write(data)
            return
        except FileNotFoundError:
            if is_last:
                raise


@contextlib.contextmanager
def create_file(target: Path, give_name: GiveName) -> Iterator[BinaryIO]:
    """Opens a temporary file for writing; `give_name` gives it its name when the block ends without an error."""
    temporary = target.with_name(f"{target.name}{TEMPORARY}{uuid.uuid4().hex[:8]}")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.open("wb", buffering=1 << 20) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        give_name(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def link_new(temporary: Path, target: Path) -> None:
    """Gives a file its name. Raises `FileExistsError` if another has it; a disk without hard links can't tell."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        if temporary.stat().st_nlink != 2:  # else NFS has made the link, lost its answer and tried again
            raise
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        temporary.replace(target)
        return
    temporary.unlink()
