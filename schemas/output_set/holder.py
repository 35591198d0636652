"""Names the process that holds something in an output folder, and says whether it has ended."""

import contextlib
import json
import os
import socket
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from schemas.errors import StorageError
from schemas.storage.disk import TEMPORARY
from schemas.storage.folder import Folder

LEASE_SECONDS = 60.0  # seconds without a renewal after which what a run holds may be taken over
RENEW_SECONDS = 10.0
CLOCK_FILE = f"{TEMPORARY}clock.json"  # written to learn the store's time
_HELD_IDS: set[str] = set()  # ids that this process uses. A file of its own with another id is a leftover.


@dataclass(frozen=True, slots=True)
class Holder:
    """Names the run that holds a folder. `boot` tells apart reboots, and machines with the same host name."""

    command: str
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    boot: str = field(default_factory=lambda: _read_boot_id())
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    is_shared: bool = False  # whether others that share the folder may work beside it
    has_begun: bool = False  # whether it has looked for runs that exclude it, and has found none

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
        if not self.host:
            return self.command
        return f"{self.command} (process {self.pid} on {self.host})"

    def encode(self) -> bytes:
        """Returns the holder as JSON."""
        return json.dumps(asdict(self)).encode()


def make_nameless(id: str = "") -> Holder:
    """Returns a run of which no more is known than, perhaps, its id."""
    return Holder("another run", "", 0, "", id, has_begun=True)


@contextlib.contextmanager
def use_id(holder: Holder) -> Iterator[None]:
    """Marks the holder as alive in this process while the block runs."""
    _HELD_IDS.add(holder.id)
    try:
        yield
    finally:
        _HELD_IDS.discard(holder.id)


def read_holder(folder: Folder, name: str) -> Holder | None:
    """Returns the holder in a file; None if the file is missing, unreadable or names no holder."""
    with contextlib.suppress(StorageError, ValueError, TypeError, KeyError):
        if folder.exists(name):
            found = json.loads(folder.read(name))
            return Holder(**{each.name: found[each.name] for each in fields(Holder)})
    return None


def measure_age(folder: Folder, name: str) -> float:
    """Returns the seconds since a file was last written, by the store's clock; infinite if it reports no times."""
    while True:
        folder.write(CLOCK_FILE, b"")
        now, then = folder.get_modified_time(CLOCK_FILE), folder.get_modified_time(name)
        folder.remove(CLOCK_FILE)
        if then is None:
            return float("inf")
        if now is not None:  # else another run has removed the file
            return now - then


def _read_boot_id() -> str:
    """Returns the kernel's boot id; empty on systems without one, such as macOS."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
