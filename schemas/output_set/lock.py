"""Limits an output folder to one run at a time, and names the run that holds it.

On a local disk `flock` locks the folder itself; the kernel releases the lock when the process ends, for any reason. A
file inside it only names the holder. Object stores and some file systems have no locks: there the file is a lease,
created by a conditional PUT where possible, renewed during the run, and taken over once it has expired or its holder is
dead. Its age is measured by the store's clock.
"""

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from schemas.errors import ShardloomError, StorageError, UsageError
from schemas.storage.folder import TEMPORARY, Folder

LOCK_FILE = f"{TEMPORARY}lock.json"  # listings skip it, like all temporary files
LEASE_SECONDS = 60.0  # seconds without a renewal after which another run may take over the folder
RENEW_SECONDS = 10.0
# Ids of the locks that this process holds or acquires. A lease of its own with another id is a leftover.
_HELD_IDS: set[str] = set()
_LOCKED_DESCRIPTORS: set[int] = set()  # open descriptors of the folders that this process has locked
_HOLDER_TIMEOUT = 1.0  # seconds to wait for a lock's holder to write its name


def _close_inherited() -> None:
    """Closes inherited lock descriptors in a forked child, which must not keep the folder locked beyond its parent."""
    while _LOCKED_DESCRIPTORS:
        os.close(_LOCKED_DESCRIPTORS.pop())


os.register_at_fork(after_in_child=_close_inherited)


@dataclass(frozen=True, slots=True)
class Holder:
    """Names the run that holds a folder. `boot` tells apart reboots, and machines with the same host name."""

    command: str
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    boot: str = field(default_factory=lambda: _read_boot_id())
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def is_dead(self) -> bool:
        """Returns whether the holder ran on this machine and has ended, or is this process and released the folder."""
        if self.boot != _read_boot_id() or self.host != socket.gethostname():
            return False
        if self.pid == os.getpid():
            return self.id not in _HELD_IDS
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # it is another user's process
            return False
        return False

    def __str__(self) -> str:
        return f"{self.command} (process {self.pid} on {self.host})"


class Lock:
    """Tells a run whether it still holds the folder that it has locked."""

    def __init__(self) -> None:
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
    _HELD_IDS.add(holder.id)
    try:
        with _hold_lease(output, holder) if not output.is_local else _lock_on_disk(output, holder) as lock:
            yield lock
    finally:
        _HELD_IDS.discard(holder.id)


@contextlib.contextmanager
def _lock_on_disk(output: Folder, holder: Holder) -> Iterator[Lock]:
    is_new = not output.exists()
    output.make_folder()
    descriptor = os.open(output.get_local_path(""), os.O_RDONLY | os.O_DIRECTORY)
    _LOCKED_DESCRIPTORS.add(descriptor)
    try:
        if _flock(descriptor, output):
            with _write_lock_file(output, holder):
                yield Lock()
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
        output.write(LOCK_FILE, _encode_holder(holder))
    try:
        yield
    finally:
        with contextlib.suppress(StorageError):
            output.remove(LOCK_FILE)


@contextlib.contextmanager
def _hold_lease(output: Folder, holder: Holder) -> Iterator[Lock]:
    """Acquires the lease, and renews it in a thread until the block ends."""
    _take_lease(output, holder)
    lock, is_over = Lock(), threading.Event()
    thread = threading.Thread(target=_renew, args=(output, holder, lock, is_over), daemon=True, name="lease")
    thread.start()
    try:
        yield lock
    finally:
        is_over.set()
        thread.join()
        with contextlib.suppress(StorageError):  # otherwise it expires by itself
            if (found := _read_holder(output)) is not None and found.id == holder.id:
                output.remove(LOCK_FILE)


def _take_lease(output: Folder, holder: Holder) -> None:
    if output.exists(LOCK_FILE):
        found = _read_holder(output)
        if (found is None or not found.is_dead()) and _get_lease_age(output) < LEASE_SECONDS:
            raise _make_in_use_error(output, found)
        output.remove(LOCK_FILE)
    try:
        output.write_new(LOCK_FILE, _encode_holder(holder))
    except StorageError:
        if (other := _read_holder(output)) is not None and other.id != holder.id:  # another run was faster
            raise _make_in_use_error(output, other) from None
        raise


def _renew(output: Folder, holder: Holder, lock: Lock, is_over: threading.Event) -> None:
    while not is_over.wait(RENEW_SECONDS):
        with contextlib.suppress(StorageError):  # the next renewal may succeed
            found = _read_holder(output)
            if found is not None and found.id != holder.id:
                lock.lose(str(found))
                return
            output.write(LOCK_FILE, _encode_holder(holder))


def _get_lease_age(output: Folder) -> float:
    """Returns the seconds since the lease was last renewed, by the store's clock; infinite if it reports no times."""
    probe = f"{TEMPORARY}clock-{uuid.uuid4().hex[:8]}"
    output.write(probe, b"")
    try:
        now, then = output.get_modified_time(probe), output.get_modified_time(LOCK_FILE)
    finally:
        output.remove(probe)
    return float("inf") if now is None or then is None else now - then


def _wait_for_holder(output: Folder) -> Holder | None:
    """Returns the holder of the lock, waiting a moment for it to write its name; None if it does not."""
    until = time.monotonic() + _HOLDER_TIMEOUT
    while (found := _read_holder(output)) is None or found.is_dead():
        if time.monotonic() > until:
            return None
        time.sleep(0.02)
    return found


def _read_holder(output: Folder) -> Holder | None:
    """Returns the holder in the lock file; None if the file is missing, unreadable or not a lock file."""
    with contextlib.suppress(StorageError, ValueError, TypeError, KeyError):
        if output.exists(LOCK_FILE):
            found = json.loads(output.read(LOCK_FILE))
            if "doing" in found:  # the earlier name of `command`
                found["command"] = found["doing"]
            return Holder(**{each.name: found[each.name] for each in fields(Holder)})
    return None


def _make_in_use_error(output: Folder, holder: Holder | None) -> UsageError:
    who = "another run" if holder is None else str(holder)
    return UsageError(f"{who} is writing to {output.url}: wait for it, stop it, or use another output folder")


def _encode_holder(holder: Holder) -> bytes:
    return json.dumps(asdict(holder)).encode()


def _read_boot_id() -> str:
    """Returns the kernel's boot id; empty on systems without one, such as macOS."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
