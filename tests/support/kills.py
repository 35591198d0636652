"""Kills a process at a named point of its work, by the hook in `tests/support/kill_site`."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import REPOSITORY

PYTHON_PATH = f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'tests/support/kill_site'}"


@dataclass(frozen=True, slots=True)
class Kill:
    """Says which process died, and where: it had written a temporary file or folder, which was to get a name."""

    process: int
    written: Path
    target: Path

    def check_half_written(self) -> None:
        """Checks that the process died inside a write: half of the file is there, and not under its name."""
        assert self.written.is_file()
        assert not self.target.exists()


class KillOrder:
    """An order to the first process that is about to give a matching file or folder its name: to die."""

    def __init__(self, path: Path) -> None:
        self.path, self._taken = path, path.with_name(f"{path.name}.taken")

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a process that obeys, as do those that it starts."""
        return {"PYTHONPATH": PYTHON_PATH, "KILL_ORDER": str(self.path)}

    def give(self, target: str) -> None:
        """Gives the order for paths that the pattern `target` matches."""
        self._taken.unlink(missing_ok=True)
        self.path.write_text(target)

    def is_taken(self) -> bool:
        """Returns whether a process has taken the order."""
        return self._taken.exists()

    def read_kill(self) -> Kill:
        """Returns what the order has led to. Fails where no process has taken it."""
        assert self.is_taken(), f"nothing was named {self.path.read_text()}"
        found = json.loads(self._taken.read_text())
        return Kill(found["process"], Path(found["written"]), Path(found["target"]))
