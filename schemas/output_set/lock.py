"""Limits an output folder to one run at a time, and names the run that holds it.

On a local disk `flock` locks the folder itself; the kernel releases the lock when the process ends, for any reason. A
file inside it only names the holder. Object stores and some file systems have no locks: there the file is a lease,
created by a conditional PUT where possible, renewed during the run, and taken over once it has expired or its holder is
dead. Its age is measured by the store's clock.
"""

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator

from schemas.errors import ShardloomError, StorageError, UsageError
from schemas.output_set.holder import Holder, measure_age, read_holder, use_id
from schemas.storage.folder import TEMPORARY, Folder

LOCK_FILE = f"{TEMPORARY}lock.json"  # listings skip it, like all temporary files
LEASE_SECONDS = 60.0  # seconds without a renewal after which another run may take over the folder
RENEW_SECONDS = 10.0
_LOCKED_DESCRIPTORS: set[int] = set()  # open descriptors of the folders that this process has locked
_HOLDER_TIMEOUT = 1.0  # seconds to wait for a lock's holder to write its name


def _close_inherited() -> None:
    """Closes inherited lock descriptors in a forked child, which must not keep the folder locked beyond its parent."""
    while _LOCKED_DESCRIPTORS:
        os.close(_LOCKED_DESCRIPTORS.pop())


os.register_at_fork(after_in_child=_close_inherited)


class Lock:
    """Tells a run whether it still holds the folder that it has locked. `id` is that of its `Holder`."""

    def __init__(self, id: str) -> None:
        self.id = id
        self._lost_to = ""

    def lose(self, to: str) -> None:
        """Records that another run now holds the folder."""
        self._lost_to = to

    def check(self) -> None:
        """Raises `ShardloomError` if another run has taken over the folder, perhaps while this one was suspended."""
        if self._lost_to:
            raise ShardloomError(f"{self._lost_to} has taken over the output: this run ends; committed data is kept")


@contextlib.contextmanager
def lock_output(output: Folder, command: str) -> Iterator[Lock]:
    """Locks the folder for the duration of the block; `command` names this run in the errors of other runs.

    Creates a missing local folder, and removes it again if the block leaves it empty. Raises `UsageError` if another
    run holds the folder, without waiting for it to finish; names its process and host if known.
    """
    holder = Holder(command)
    with use_id(holder), _hold_lease(output, holder) if not output.is_local else _lock_on_disk(output, holder) as lock:
        yield lock


@contextlib.contextmanager
def _lock_on_disk(output: Folder, holder: Holder) -> Iterator[Lock]:
    is_new = not output.exists()
    output.make_folder()
    descriptor = os.open(output.get_local_path(""), os.O_RDONLY | os.O_DIRECTORY)
    _LOCKED_DESCRIPTORS.add(descriptor)
    try:
        if _flock(descriptor, output):
            with _write_lock_file(output, holder):
                yield Lock(holder.id)
        else:
            with _hold_lease(output, holder) as lock:
                yield lock
    finally:
        if is_new:
            with contextlib.suppress(OSError):  # it is not empty
                output.get_local_path("").rmdir()
        _LOCKED_DESCRIPTORS.discard(descriptor)
        os.close(descriptor)


def _flock(descriptor: int, output: Folder) -> bool:
    """Locks the folder; returns False if its file system has no locks. Raises `UsageError` if another run holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _make_in_use_error(output, _wait_for_holder(output)) from None
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _write_lock_file(output: Folder, holder: Holder) -> Iterator[None]:
    """Writes the holder's name into the folder. A full or read-only disk is ignored here; later writes report it."""
    with contextlib.suppress(StorageError):
        output.write(LOCK_FILE, holder.encode())
    try:
        yield
    finally:
        with contextlib.suppress(StorageError):
            output.remove(LOCK_FILE)


@contextlib.contextmanager
def _hold_lease(output: Folder, holder: Holder) -> Iterator[Lock]:
    """Acquires the lease, and renews it in a thread until the block ends."""
    _take_lease(output, holder)
    lock, is_over = Lock(holder.id), threading.Event()
    thread = threading.Thread(target=_renew, args=(output, holder, lock, is_over), daemon=True, name="lease")
    thread.start()
    try:
        yield lock
    finally:
        is_over.set()
        thread.join()
        with contextlib.suppress(StorageError):  # otherwise it expires by itself
            if (found := read_holder(output, LOCK_FILE)) is not None and found.id == holder.id:
                output.remove(LOCK_FILE)


def _take_lease(output: Folder, holder: Holder) -> None:
    if output.exists(LOCK_FILE):
        found = read_holder(output, LOCK_FILE)
        if (found is None or not found.is_dead()) and measure_age(output, LOCK_FILE) < LEASE_SECONDS:
            raise _make_in_use_error(output, found)
        output.remove(LOCK_FILE)
    try:
        output.write_new(LOCK_FILE, holder.encode())
    except StorageError:
        if (other := read_holder(output, LOCK_FILE)) is not None and other.id != holder.id:  # another run was faster
            raise _make_in_use_error(output, other) from None
        raise


def _renew(output: Folder, holder: Holder, lock: Lock, is_over: threading.Event) -> None:
    while not is_over.wait(RENEW_SECONDS):
        with contextlib.suppress(StorageError):  # the next renewal may succeed
            found = read_holder(output, LOCK_FILE)
            if found is not None and found.id != holder.id:
                lock.lose(str(found))
                return
            output.write(LOCK_FILE, holder.encode())


def _wait_for_holder(output: Folder) -> Holder | None:
    """Returns the holder of the lock, waiting a moment for it to write its name; None if it does not."""
    until = time.monotonic() + _HOLDER_TIMEOUT
    while (found := read_holder(output, LOCK_FILE)) is None or found.is_dead():
        if time.monotonic() > until:
            return None
        time.sleep(0.02)
    return found


def _make_in_use_error(output: Folder, holder: Holder | None) -> UsageError:
    who = "another run" if holder is None else str(holder)
    return UsageError(f"{who} is writing to {output.url}: wait for it, stop it, or use another output folder")
