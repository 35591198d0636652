"""Keeps an output folder to one run at a time, and names the run that has it.

On a local disk the folder itself is locked by `flock`, which ends with the process, however that ends; a file beside it
only says who has the lock. An object store has no locks: there the file is a lease, made by a conditional PUT, renewed
while the run goes on, and taken over once it has lapsed. Its age is told by the store's own clock.
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

LOCK_FILE = f"{TEMPORARY}lock.json"  # passed over by listings, as all temporary files are
LEASE_SECONDS = 60.0  # without a renewal until another run may take the folder over
RENEW_SECONDS = 10.0
_HELD: set[str] = set()  # ids of this process: a lease whose removal a store has refused is left behind
_DESCRIPTORS: set[int] = set()  # of folders that this process has locked
_READ_SECONDS = 1.0  # for the holder of a lock to say who it is


def _close_inherited() -> None:
    """Leaves the locks to the parent: a forked process that outlives it must not keep the folder."""
    while _DESCRIPTORS:
        os.close(_DESCRIPTORS.pop())


os.register_at_fork(after_in_child=_close_inherited)


@dataclass(frozen=True, slots=True)
class Holder:
    """Names the run that has a folder. `boot` tells machines of one name, and restarts, apart."""

    doing: str
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    boot: str = field(default_factory=lambda: _boot_id())
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def is_dead(self) -> bool:
        """Says whether its process was on this machine and has ended, or is this one and holds it no more."""
        if self.boot != _boot_id() or self.host != socket.gethostname():
            return False
        if self.pid == os.getpid():
            return self.id not in _HELD
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # another user's
            return False
        return False

    def __str__(self) -> str:
        return f"{self.doing} (process {self.pid} on {self.host})"


class Lock:
    """Allows its holder to write to a folder, until another run has taken it over."""

    def __init__(self) -> None:
        self._lost_to = ""

    def lose(self, to: str) -> None:
        """Records that another run has the folder now."""
        self._lost_to = to

    def check(self) -> None:
        """Raises `ShardloomError` once another run has taken the folder over, as after a long pause of this one."""
        if self._lost_to:
            raise ShardloomError(f"{self._lost_to} has taken the output over: this run ends, what is committed is kept")


@contextlib.contextmanager
def locked(output: Folder, doing: str) -> Iterator[Lock]:
    """Keeps other runs out of the folder for the length of the block; `doing` is what they are told of this one.

    Makes a local folder that is not there, and removes it again if the block leaves it empty. Raises `UsageError` at
    once, with host and process of the other run, when another one has the folder.
    """
    holder = Holder(doing)
    _HELD.add(holder.id)
    try:
        with _leased(output, holder) if not output.is_local else _locked_on_disk(output, holder) as lock:
            yield lock
    finally:
        _HELD.discard(holder.id)


@contextlib.contextmanager
def _locked_on_disk(output: Folder, holder: Holder) -> Iterator[Lock]:
    is_new = not output.exists()
    output.make()
    descriptor = os.open(output.local_path(""), os.O_RDONLY | os.O_DIRECTORY)
    _DESCRIPTORS.add(descriptor)
    try:
        if _flock(descriptor, output):
            with _signed(output, holder):
                yield Lock()
        else:
            with _leased(output, holder) as lock:
                yield lock
    finally:
        if is_new:
            with contextlib.suppress(OSError):  # not empty
                output.local_path("").rmdir()
        _DESCRIPTORS.discard(descriptor)
        os.close(descriptor)


def _flock(descriptor: int, output: Folder) -> bool:
    """Locks the folder; False where the file system knows no locks, as some networks' don't."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _in_use(output, _named_holder(output)) from None
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _signed(output: Folder, holder: Holder) -> Iterator[None]:
    """Says in the folder who has it. A disk that is full or read-only is left to be found out by what is written."""
    with contextlib.suppress(StorageError):
        output.write(LOCK_FILE, _encoded(holder))
    try:
        yield
    finally:
        with contextlib.suppress(StorageError):
            output.remove(LOCK_FILE)


@contextlib.contextmanager
def _leased(output: Folder, holder: Holder) -> Iterator[Lock]:
    """Takes the lease, and renews it in a thread until the block ends."""
    _take_lease(output, holder)
    lock, is_over = Lock(), threading.Event()
    thread = threading.Thread(target=_renew, args=(output, holder, lock, is_over), daemon=True, name="lease")
    thread.start()
    try:
        yield lock
    finally:
        is_over.set()
        thread.join()
        with contextlib.suppress(StorageError):  # it lapses by itself
            if (found := _read(output)) is not None and found.id == holder.id:
                output.remove(LOCK_FILE)


def _take_lease(output: Folder, holder: Holder) -> None:
    if output.exists(LOCK_FILE):
        found = _read(output)
        if (found is None or not found.is_dead()) and _age(output) < LEASE_SECONDS:
            raise _in_use(output, found)
        output.remove(LOCK_FILE)
    try:
        output.write_new(LOCK_FILE, _encoded(holder))
    except StorageError:
        if (other := _read(output)) is not None and other.id != holder.id:  # it came first
            raise _in_use(output, other) from None
        raise


def _renew(output: Folder, holder: Holder, lock: Lock, is_over: threading.Event) -> None:
    while not is_over.wait(RENEW_SECONDS):
        with contextlib.suppress(StorageError):  # the next one may get through
            found = _read(output)
            if found is not None and found.id != holder.id:
                lock.lose(str(found))
                return
            output.write(LOCK_FILE, _encoded(holder))


def _age(output: Folder) -> float:
    """Seconds since the lease was last renewed, by the clock of the store; infinite where it tells no times."""
    probe = f"{TEMPORARY}clock-{uuid.uuid4().hex[:8]}"
    output.write(probe, b"")
    try:
        now, then = output.modified(probe), output.modified(LOCK_FILE)
    finally:
        output.remove(probe)
    return float("inf") if now is None or then is None else now - then


def _named_holder(output: Folder) -> Holder | None:
    """Who has the lock; it may need a moment to say so."""
    until = time.monotonic() + _READ_SECONDS
    while (found := _read(output)) is None or found.is_dead():
        if time.monotonic() > until:
            return None
        time.sleep(0.02)
    return found


def _read(output: Folder) -> Holder | None:
    """What the file says; None where there is none, or none of ours."""
    with contextlib.suppress(StorageError, ValueError, TypeError, KeyError):
        if output.exists(LOCK_FILE):
            found = json.loads(output.read(LOCK_FILE))
            return Holder(**{each.name: found[each.name] for each in fields(Holder)})
    return None


def _in_use(output: Folder, holder: Holder | None) -> UsageError:
    who = "another run" if holder is None else str(holder)
    return UsageError(f"{who} is writing to {output.url}: wait for it, stop it, or take another output folder")


def _encoded(holder: Holder) -> bytes:
    return json.dumps(asdict(holder)).encode()


def _boot_id() -> str:
    """What the kernel calls the time since this machine was started; empty where it has no name for it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
