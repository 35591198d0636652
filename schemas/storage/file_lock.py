"""Locks a file between the processes of one machine, for things that one of them makes while the others wait."""

import contextlib
import fcntl
from pathlib import Path
from typing import TextIO


def acquire_file_lock(path: Path) -> TextIO:
    """Waits until no other process holds the lock on a file, then returns the open file, which holds it until closed.

    Creates the file and its folder if they do not exist. The lock ends with the process; on a file system without locks
    nothing is locked. Raises `OSError` if the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("w")
    with contextlib.suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_EX)
    return file
