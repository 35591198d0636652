"""Lets the runs that share an output folder do something one at a time.

A run that wants the turn writes a file of its own first and looks for those of others then: of two runs one at least
sees the other, so that both never have the turn. Of several that see each other, the one with the smallest id stays.
Nobody ever removes the file of a run at work, and the store needs no conditional writes.
"""

import contextlib
import time
from collections.abc import Callable, Iterator

from schemas.errors import StorageError
from schemas.output_set.active_runs import PREFIX, ActiveRuns, list_ids, name_file, remove_files
from schemas.output_set.holder import Holder
from schemas.storage.disk import TEMPORARY
from schemas.storage.folder import Folder

TURN = f"{TEMPORARY}turn-"
POLL_SECONDS = 0.2


@contextlib.contextmanager
def take_turn(output: Folder, holder: Holder, check: Callable[[], None]) -> Iterator[None]:
    """Waits for the turn and has it while the block runs. Calls `check`, which may raise, while it waits."""
    own = name_file(TURN, holder.id)
    try:
        _wait_for_turn(output, holder, check)
        yield
    finally:
        with contextlib.suppress(StorageError):  # otherwise others wait until this run has ended
            output.remove(own)


def _wait_for_turn(output: Folder, holder: Holder, check: Callable[[], None]) -> None:
    own, is_announced = name_file(TURN, holder.id), False
    while True:
        check()
        others = _list_others(output, holder)
        if not others and is_announced:
            return
        if not others:
            output.write(own, holder.encode())
            is_announced = True
            continue
        if is_announced and min(others) < holder.id:
            output.remove(own)
            is_announced = False
        time.sleep(POLL_SECONDS)


def _list_others(output: Folder, holder: Holder) -> list[str]:
    """Returns the ids of the other runs that want the turn or have it. Removes the files of those that have ended, also
    that which shows them at work: one that was suspended finds out by this.
    """
    runs = ActiveRuns(output)
    ids = [id for id in list_ids(output, TURN) if id != holder.id]
    ended = [id for id in ids if runs.find(id) is None]
    remove_files(output, PREFIX, ended)
    remove_files(output, TURN, ended)
    return [id for id in ids if id not in ended]
