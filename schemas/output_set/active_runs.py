"""Names the runs that are at work in an output folder. Each has a file there, which it renews while it is at work.

A run has ended when its file is gone, when it ran on this machine and its process is gone, or when it has not renewed
the file for `LEASE_SECONDS` by the store's clock. A file has one writer, so that nobody overwrites another's.
"""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator

from schemas.errors import StorageError
from schemas.output_set.holder import LEASE_SECONDS, RENEW_SECONDS, Holder, make_nameless, measure_age, read_holder
from schemas.storage.disk import TEMPORARY
from schemas.storage.folder import Folder

PREFIX, ENDING = f"{TEMPORARY}run-", ".json"  # listings skip these files, like all temporary files


class ActiveRuns:
    """Tells which runs are at work in a folder. It asks the store once about each but `own`, and keeps the answer."""

    def __init__(self, output: Folder, own: Holder | None = None) -> None:
        self._output = output
        self._asked = {} if own is None else {own.id: (own, True)}

    def find(self, id: str) -> Holder | None:
        """Returns the run with this id, if it is at work. Of a damaged file, only the age is known: it names nobody."""
        run, is_active = self._ask(id)
        return run if is_active else None

    def list_active(self) -> list[Holder]:
        """Returns the runs that are at work."""
        return [run for run, is_active in self._ask_all() if is_active]

    def list_ended(self) -> list[Holder]:
        """Returns the runs that have ended and have left their files."""
        return [run for run, is_active in self._ask_all() if not is_active]

    def _ask_all(self) -> list[tuple[Holder, bool]]:
        return [self._ask(id) for id in list_ids(self._output, PREFIX)]

    def _ask(self, id: str) -> tuple[Holder, bool]:
        if id not in self._asked:
            name = name_file(PREFIX, id)
            run = read_holder(self._output, name) or make_nameless(id)
            is_active = (
                self._output.exists(name) and not run.is_dead() and measure_age(self._output, name) < LEASE_SECONDS
            )
            self._asked[id] = run, is_active
        return self._asked[id]


def list_ids(output: Folder, prefix: str) -> list[str]:
    """Returns the ids in the names of the files that runs have in the folder under a prefix."""
    names = output.list_files("", prefix)
    return [name[len(prefix) : -len(ENDING)] for name in names if name.endswith(ENDING)]


def name_file(prefix: str, id: str) -> str:
    """Returns the name of a run's file."""
    return f"{prefix}{id}{ENDING}"


def remove_files(output: Folder, prefix: str, ids: Iterable[str]) -> None:
    """Removes the files that these runs have under a prefix."""
    for id in ids:
        output.remove(name_file(prefix, id))


@contextlib.contextmanager
def announce(output: Folder, holder: Holder, on_removal: Callable[[], None]) -> Iterator[None]:
    """Shows other runs that this one is at work while the block runs.

    Calls `on_removal`, and renews the file no more, once another run has removed it: this one was suspended for longer
    than its file counts.
    """
    name = name_file(PREFIX, holder.id)
    is_over = threading.Event()

    def renew() -> None:
        while not is_over.wait(RENEW_SECONDS):
            with contextlib.suppress(StorageError):  # the next renewal may succeed
                if not output.exists(name):
                    on_removal()
                    return
                output.write(name, output.read(name))

    output.write(name, holder.encode())
    thread = threading.Thread(target=renew, daemon=True, name="active-run")
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        with contextlib.suppress(StorageError):  # otherwise it lapses by itself
            output.remove(name)
