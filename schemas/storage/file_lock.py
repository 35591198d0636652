"""A lock between the processes of one machine, for what one of them makes and the others wait for."""

import contextlib
import fcntl
from pathlib import Path
from typing import TextIO


def acquire_file_lock(path: Path) -> TextIO:
    """Waits until no other process holds the lock on a file, and returns the file, which holds it until it is closed.

    The file and its folder are made if they aren't there. The lock ends with the process, and there is none where the
    file system knows none. Raises `OSError` where the file can't be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("w")
    with contextlib.suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_EX)
    return file
