"""Limits an output folder to one run at a time, or to runs that agree to share it, and names those that hold it.

On a local disk `flock` locks the folder itself; the kernel releases the lock when the process ends, for any reason. A
file inside it only names the holder. Object stores and some file systems have no locks: there the file is a lease,
created by a conditional PUT where possible, renewed during the run, and taken over once it has expired or its holder is
dead. Its age is measured by the store's clock.

Runs that share a folder each have a file of their own (`sharers`). A run announces itself first and looks for others
then, so that of two runs that exclude each other one at least sees the other.
"""

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from schemas.errors import ShardloomError, StorageError, UsageError
from schemas.output_set.holder import (
    LEASE_SECONDS,
    RENEW_SECONDS,
    Holder,
    make_nameless,
    measure_age,
    read_holder,
    use_id,
)
from schemas.output_set.sharers import Sharers, announce
from schemas.storage.folder import TEMPORARY, AlreadyWritten, Folder

LOCK_FILE = f"{TEMPORARY}lock.json"  # listings skip it, like all temporary files
TURN_FILE = f"{TEMPORARY}turn.json"  # the lease of the one run, of those that share the folder, that completes the set
TURN_POLL_SECONDS = 0.2
_LOCKED_DESCRIPTORS: set[int] = set()  # open descriptors of the folders that this process has locked
_HOLDER_TIMEOUT = 1.0  # seconds to wait for a lock's holder to write its name


def _close_inherited() -> None:
    """Closes inherited lock descriptors in a forked child, which must not keep the folder locked beyond its parent."""
    while _LOCKED_DESCRIPTORS:
        os.close(_LOCKED_DESCRIPTORS.pop())


os.register_at_fork(after_in_child=_close_inherited)


class Lock:
    """Tells a run whether it still holds the folder that it has locked, alone or with others."""

    def __init__(self, output: Folder, holder: Holder, is_shared: bool = False) -> None:
        self.holder, self.is_shared = holder, is_shared
        self._output = output
        self._lost_to = ""

    def lose(self, to: str) -> None:
        """Records that another run now holds the folder."""
        self._lost_to = to

    def check(self) -> None:
        """Raises `ShardloomError` if another run has taken over the folder, perhaps while this one was suspended."""
        if self._lost_to:
            raise ShardloomError(f"{self._lost_to} has taken over the output: this run ends; committed data is kept")

    @contextlib.contextmanager
    def take_turn(self) -> Iterator[None]:
        """Lets the runs that share the folder run this block one at a time."""
        if not self.is_shared:
            yield
            return
        turn = _Lease(self._output, self.holder, TURN_FILE)
        while turn.try_to_take() is not None:
            self.check()
            time.sleep(TURN_POLL_SECONDS)
        with turn.keep_renewed(self):
            yield

    def remove_leftovers(self) -> None:
        """Removes what killed runs that shared the folder have left, once this one is the last at work there."""
        if not self.is_shared:
            return
        sharers = Sharers(self._output)
        sharers.remove_ended()
        if self._output.is_local and len(sharers.list_alive()) == 1:  # else others write such files now
            self._output.clear_temporary()


@contextlib.contextmanager
def lock_output(output: Folder, command: str, *, is_shared: bool = False) -> Iterator[Lock]:
    """Locks the folder for the duration of the block; `command` names this run in the errors of other runs.

    Runs with `is_shared` hold the folder at the same time. Creates a missing local folder, and removes it again if the
    block leaves it empty. Raises `UsageError` if another run holds the folder, without waiting for it to finish; names
    its process and host if known.
    """
    holder = Holder(command)
    lock = Lock(output, holder, is_shared)
    with use_id(holder), _lock_on_disk(output, lock) if output.is_local else _hold(output, lock):
        yield lock


@contextlib.contextmanager
def _lock_on_disk(output: Folder, lock: Lock) -> Iterator[None]:
    is_new = not output.exists()
    output.make_folder()
    descriptor = os.open(output.get_local_path(""), os.O_RDONLY | os.O_DIRECTORY)
    _LOCKED_DESCRIPTORS.add(descriptor)
    try:
        if _flock(descriptor, output, lock.is_shared) and not lock.is_shared:
            with _write_lock_file(output, lock.holder):
                refuse_shared(output)
                yield
        else:
            with _hold(output, lock):
                yield
    finally:
        if is_new:
            with contextlib.suppress(OSError):  # it is not empty
                output.get_local_path("").rmdir()
        _LOCKED_DESCRIPTORS.discard(descriptor)
        os.close(descriptor)


def _flock(descriptor: int, output: Folder, is_shared: bool) -> bool:
    """Locks the folder; returns False if its file system has no locks. Raises `UsageError` if another run holds it."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
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
def _hold(output: Folder, lock: Lock) -> Iterator[None]:
    """Holds the folder by files alone: by the lease, or with others that share it."""
    lease = _Lease(output, lock.holder, LOCK_FILE)

    def check_lease() -> None:
        if (found := lease.find_other()) is not None:
            lock.lose(str(found))

    if not lock.is_shared:
        lease.take()
        with lease.keep_renewed(lock):
            refuse_shared(output)
            yield
        return
    with announce(output, lock.holder, check_lease):
        if (other := lease.remove_abandoned()) is not None:
            raise _make_in_use_error(output, other)
        yield


def refuse_shared(output: Folder) -> None:
    """Raises `UsageError` if a run that shares the folder is at work; removes the files of those that have ended."""
    sharers = Sharers(output)
    if others := sharers.list_alive():
        raise _make_in_use_error(output, others[0])
    sharers.remove_ended()


@dataclass(frozen=True, slots=True)
class _Lease:
    """Keeps a lease in a file."""

    output: Folder
    holder: Holder
    file: str

    def take(self) -> None:
        """Takes the lease. Raises `UsageError` if another run has it."""
        if (other := self.try_to_take()) is not None:
            raise _make_in_use_error(self.output, other)

    def try_to_take(self) -> Holder | None:
        """Takes the lease, or returns the run that has it."""
        if (other := self.remove_abandoned()) is not None:
            return other
        try:
            self.output.write_new(self.file, self.holder.encode())
        except AlreadyWritten:  # another run was faster, and may have ended already
            return self.find_other() or make_nameless()
        except StorageError:
            if (other := self.find_other()) is not None:  # a store without conditional writes
                return other
            raise
        return None

    def remove_abandoned(self) -> Holder | None:
        """Removes the lease of a run that has ended; returns the run that has it, if that is at work."""
        if not self.output.exists(self.file):
            return None
        found = read_holder(self.output, self.file)
        if (found is None or not found.is_dead()) and measure_age(self.output, self.file) < LEASE_SECONDS:
            return found or make_nameless()
        self.output.remove(self.file)
        return None

    def find_other(self) -> Holder | None:
        """Returns the other run that the lease names; None if there is none."""
        found = read_holder(self.output, self.file)
        return None if found is None or found.id == self.holder.id else found

    @contextlib.contextmanager
    def keep_renewed(self, lock: Lock) -> Iterator[None]:
        """Renews the lease in a thread until the block ends, and gives it up."""
        is_over = threading.Event()
        thread = threading.Thread(target=self._renew, args=(lock, is_over), daemon=True, name="lease")
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()
            with contextlib.suppress(StorageError):  # otherwise it expires by itself
                if (found := read_holder(self.output, self.file)) is not None and found.id == self.holder.id:
                    self.output.remove(self.file)

    def _renew(self, lock: Lock, is_over: threading.Event) -> None:
        while not is_over.wait(RENEW_SECONDS):
            with contextlib.suppress(StorageError):  # the next renewal may succeed
                other = self.find_other()
                if other is None and self.file == LOCK_FILE and not self.output.exists(self.file):
                    other = next(iter(Sharers(self.output).list_alive()), None)  # it found the lease abandoned
                if other is not None:
                    lock.lose(str(other))
                    return
                self.output.write(self.file, self.holder.encode())


def _wait_for_holder(output: Folder) -> Holder | None:
    """Returns the holder of the lock, waiting a moment for it to write its name; None if it does not."""
    until = time.monotonic() + _HOLDER_TIMEOUT
    while True:
        if (found := read_holder(output, LOCK_FILE)) is not None and not found.is_dead():
            return found
        if others := Sharers(output).list_alive():
            return others[0]
        if time.monotonic() > until:
            return None
        time.sleep(0.02)


def _make_in_use_error(output: Folder, holder: Holder | None) -> UsageError:
    who = "another run" if holder is None else str(holder)
    return UsageError(f"{who} is writing to {output.url}: wait for it, stop it, or use another output folder")
