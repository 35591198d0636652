"""Limits how many of a user's runs start a local cluster on a machine at the same time.

Ray waits 30 seconds for a node to register, a constant of `ray/_private/node.py`, and then fails. On two cores eight
runs that start together need longer.
"""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

NAME = ".shardloom-start-{user}-{place}.lock"


@contextlib.contextmanager
def take_start_turn() -> Iterator[None]:
    """Runs the block beside one other for each core of the machine at most; the others wait.

    The kernel ends a turn with its process. Waits for nothing where the file of the turn cannot be used.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            descriptor = _open_lock()
            stack.callback(os.close, descriptor)
            if os.fstat(descriptor).st_uid == os.getuid():  # else another user could keep it locked
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def _open_lock() -> int:
    """Opens the file of this process's turn. Follows no link, which another user may have put there."""
    cores = os.cpu_count() or 1  # of the machine: runs that have cores of their own share its turns
    path = Path(tempfile.gettempdir(), NAME.format(user=os.getuid(), place=os.getpid() % cores))
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
