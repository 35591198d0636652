"""Names the runs that share an output folder. Each has a file there, which it renews while it is at work.

A run has ended when its file is gone, when it ran on this machine and its process is gone, or when it has not renewed
the file for `LEASE_SECONDS` by the store's clock.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator

from schemas.errors import StorageError
from schemas.output_set.holder import LEASE_SECONDS, RENEW_SECONDS, Holder, make_nameless, measure_age, read_holder
from schemas.storage.folder import TEMPORARY, Folder

PREFIX, ENDING = f"{TEMPORARY}run-", ".json"  # listings skip these files, like all temporary files


class Sharers:
    """Tells which runs that share a folder are at work. It asks the store once about each, and keeps the answer."""

    def __init__(self, output: Folder) -> None:
        self._output = output
        self._alive: dict[str, bool] = {}

    def is_alive(self, id: str) -> bool:
        """Returns whether the run with this id is at work."""
        if id not in self._alive:
            self._alive[id] = self._ask(name_file(id))
        return self._alive[id]

    def list_alive(self) -> list[Holder]:
        """Returns the runs that are at work. Of a damaged file, only the age is known: its holder has no name."""
        return [self.find(id) for id in self._list_ids() if self.is_alive(id)]

    def remove_ended(self) -> None:
        """Removes the files of runs that have ended without doing so."""
        for id in self._list_ids():
            if not self.is_alive(id):
                self._output.remove(name_file(id))

    def find(self, id: str) -> Holder:
        """Returns the run with this id, or a nameless one if its file is gone or damaged."""
        return read_holder(self._output, name_file(id)) or make_nameless(id)

    def _list_ids(self) -> list[str]:
        names = self._output.list_files("", PREFIX)
        return [name[len(PREFIX) : -len(ENDING)] for name in names if name.endswith(ENDING)]

    def _ask(self, file: str) -> bool:
        if not self._output.exists(file):
            return False
        holder = read_holder(self._output, file)
        if holder is not None and holder.is_dead():
            return False
        return measure_age(self._output, file) < LEASE_SECONDS


def name_file(id: str) -> str:
    """Returns the name of a run's file."""
    return f"{PREFIX}{id}{ENDING}"


@contextlib.contextmanager
def announce(output: Folder, holder: Holder, on_renewal: Callable[[], None]) -> Iterator[None]:
    """Shows other runs that this one is at work while the block runs. Calls `on_renewal` before each renewal."""
    is_over = threading.Event()

    def renew() -> None:
        while not is_over.wait(RENEW_SECONDS):
            with contextlib.suppress(StorageError):  # the next renewal may succeed
                on_renewal()
                output.write(name_file(holder.id), holder.encode())

    output.write(name_file(holder.id), holder.encode())
    thread = threading.Thread(target=renew, daemon=True, name="sharer")
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        with contextlib.suppress(StorageError):  # otherwise it lapses by itself
            output.remove(name_file(holder.id))
