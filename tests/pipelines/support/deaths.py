"""Lets a run die at each step that it takes in a folder, on disk or in a store, as it does when it is killed there.

Every file appears whole or not at all, so that what a kill leaves behind is what the steps before it have done.
"""

from collections.abc import Callable
from typing import Any

import pytest

from schemas.output_set.active_runs import PREFIX
from schemas.storage.folder import Folder

STEPS = ("write", "write_new", "create", "remove", "clear")


class Death(BaseException):
    """Ends a run as a kill does: no handler of errors catches it."""


class Deaths:
    """Counts the steps of runs in this process, and lets one die before a step."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps, self._last = 0, -1
        for name in STEPS:
            monkeypatch.setattr(Folder, name, self._make_step(getattr(Folder, name)))

    def _make_step(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def take(*arguments: Any, **options: Any) -> Any:
            if 0 <= self._last <= self.steps:
                raise Death  # whoever cleans up after it is dead too
            self.steps += 1
            return step(*arguments, **options)

        return take

    def run_until(self, last: int, work: Callable[[], object]) -> bool:
        """Lets the work take this many steps and no more; returns whether it has died before its end."""
        self.steps, self._last = 0, last
        try:
            work()
        except Death:
            return True
        finally:
            self._last = -1
        return False


def bury(output: str) -> None:
    """Removes the names of runs that have died: this process, which lives on, would seem to be at work there."""
    folder = Folder(output)
    for name in folder.list_files(prefix=PREFIX):
        folder.remove(name)


def die_at_each_step(deaths: Deaths, prepare: Callable[[], object], work: Callable[[], object]) -> int:
    """Lets the work die once at each of its steps, each time on what `prepare` makes, and then run again to its end.

    The caller checks the outcome in `work`'s last run. Returns the number of steps.
    """
    steps = 0
    while True:
        prepare()
        died = deaths.run_until(steps, work)
        work()
        if not died:
            return steps
        steps += 1
