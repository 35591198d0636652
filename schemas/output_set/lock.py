"""Limits an output folder to one run at a time, or to runs that agree to share it, and names those that hold it.

On a local disk `flock` locks the folder itself; the kernel releases the lock when the process ends, for any reason.
Object stores and some file systems have no locks. There a run announces itself by a file of its own (`active_runs`)
first and looks for others then: of two runs that exclude each other one at least sees the other. Where `flock` decides,
the file only names the run.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from dataclasses import replace

from schemas.errors import ShardloomError, StorageError, UsageError
from schemas.output_set.active_runs import PREFIX, ActiveRuns, announce, list_ids, name_file, remove_files
from schemas.output_set.holder import CLOCK_FILE, Holder, make_nameless, read_holder, use_id
from schemas.output_set.turn import take_turn
from schemas.storage.folder import Folder

_LOCKED_DESCRIPTORS: set[int] = set()  # open descriptors of the folders that this process has locked
_NAME_TIMEOUT = 1.0  # seconds to wait for a lock's holder to write its name
_GIVE_WAY_TIMEOUT = 10.0  # seconds to wait for a run that has just begun: it takes a few requests to a store
_POLL_SECONDS = 0.05


def _close_inherited() -> None:
    """Closes inherited lock descriptors in a forked child, which must not keep the folder locked beyond its parent."""
    while _LOCKED_DESCRIPTORS:
        os.close(_LOCKED_DESCRIPTORS.pop())


os.register_at_fork(after_in_child=_close_inherited)


class Lock:
    """Tells a run whether it still holds the folder that it has locked, alone or with others."""

    def __init__(self, output: Folder, holder: Holder) -> None:
        self.holder = holder
        self._output = output
        self._lost_to: Holder | None = None

    def lose(self) -> None:
        """Records that another run has taken over the folder."""
        self._lost_to = find_other(self._output, self.holder.id)

    def check(self) -> None:
        """Raises `ShardloomError` if another run has taken over the folder, perhaps while this one was suspended."""
        if self._lost_to is not None:
            raise make_lost_error(self._lost_to)

    @contextlib.contextmanager
    def take_turn(self) -> Iterator[None]:
        """Lets the runs that share the folder run this block one at a time."""
        with take_turn(self._output, self.holder, self.check) if self.holder.is_shared else contextlib.nullcontext():
            yield

    def remove_leftovers(self) -> None:
        """Removes what killed runs that shared the folder have left, once this one is the last at work there."""
        if not self.holder.is_shared:
            return
        runs = ActiveRuns(self._output, self.holder)
        _remove_ended(self._output, runs.list_ended())
        if self._output.is_local and len(runs.list_active()) == 1:  # else others write such files now
            self._output.clear_temporary()


@contextlib.contextmanager
def lock_output(output: Folder, command: str, *, is_shared: bool = False) -> Iterator[Lock]:
    """Locks the folder for the duration of the block; `command` names this run in the errors of other runs.

    Runs with `is_shared` hold the folder at the same time. Creates a missing local folder, and removes it again if the
    block leaves it empty. Raises `UsageError` if another run holds the folder, without waiting for it to finish; names
    its process and host if known.
    """
    holder = Holder(command, is_shared=is_shared)
    lock = Lock(output, holder)
    with use_id(holder), _lock_on_disk(output, is_shared) as has_flock:
        is_alone = has_flock and not is_shared
        with _show(output, holder) if is_alone else announce(output, holder, lock.lose):
            _refuse_others(output, holder, has_flock)
            if not is_alone:
                output.write(name_file(PREFIX, holder.id), replace(holder, has_begun=True).encode())
            yield lock


@contextlib.contextmanager
def _lock_on_disk(output: Folder, is_shared: bool) -> Iterator[bool]:
    """Locks the folder where its file system has locks, and tells whether it has."""
    if not output.is_local:
        yield False
        return
    is_new = not output.exists()
    output.make_folder()
    descriptor = os.open(output.get_local_path(""), os.O_RDONLY | os.O_DIRECTORY)
    _LOCKED_DESCRIPTORS.add(descriptor)
    try:
        yield _flock(descriptor, output, is_shared)
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
        raise _make_in_use_error(output, _wait_for_name(output)) from None
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _show(output: Folder, holder: Holder) -> Iterator[None]:
    """Names the run in a folder that it has locked. Ignores a full or read-only disk, which later writes report."""
    name = name_file(PREFIX, holder.id)
    with contextlib.suppress(StorageError):
        output.write(name, holder.encode())
    try:
        yield
    finally:
        with contextlib.suppress(StorageError):
            output.remove(name)


def _refuse_others(output: Folder, holder: Holder, has_flock: bool) -> None:
    """Raises `UsageError` if a run is at work that excludes this one. Removes the files of those that have ended.

    Of runs that begin at the same moment, the one with the smallest id waits for the others to give way.
    """
    until = time.monotonic() + _GIVE_WAY_TIMEOUT
    while True:
        runs = ActiveRuns(output, holder)
        others = _list_excluding(runs.list_active(), holder)
        at_work = [run for run in others if run.is_shared or not has_flock]
        if not at_work:
            break
        for run in at_work:
            if run.has_begun or run.id < holder.id or time.monotonic() > until:
                raise _make_in_use_error(output, run)
        time.sleep(_POLL_SECONDS)
    _remove_ended(output, [*others, *_list_excluding(runs.list_ended(), holder)])


def _list_excluding(runs: list[Holder], holder: Holder) -> list[Holder]:
    """Returns the runs that may not be at work beside this one."""
    return [run for run in runs if run.id != holder.id and not (run.is_shared and holder.is_shared)]


def _remove_ended(output: Folder, runs: list[Holder]) -> None:
    """Removes what runs that have ended have left beside the set."""
    if runs:
        remove_files(output, PREFIX, [run.id for run in runs])
        output.remove(CLOCK_FILE)


def find_other(output: Folder, id: str) -> Holder:
    """Returns a run at work in the folder other than the one with this id; a nameless one if none is known."""
    return next((run for run in ActiveRuns(output).list_active() if run.id != id), make_nameless())


def make_lost_error(other: Holder) -> ShardloomError:
    """Returns the error of a run whose folder another has taken over."""
    return ShardloomError(f"{other} has taken over the output: this run ends; committed data is kept")


def _wait_for_name(output: Folder) -> Holder | None:
    """Returns the holder of the lock, waiting a moment for it to write its name; None if it does not."""
    until = time.monotonic() + _NAME_TIMEOUT
    while time.monotonic() < until:
        names = [name_file(PREFIX, id) for id in list_ids(output, PREFIX)]
        for found in (read_holder(output, name) for name in names):
            if found is not None and not found.is_dead():
                return found
        time.sleep(_POLL_SECONDS)
    return None


def _make_in_use_error(output: Folder, holder: Holder | None) -> UsageError:
    who = "another run" if holder is None else str(holder)
    return UsageError(f"{who} is writing to {output.url}: wait for it, stop it, or use another output folder")
