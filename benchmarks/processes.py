"""Measures what a command and all its child processes hold: memory, open files, threads, objects in its Ray cluster."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil
import ray._private.internal_api as ray_numbers  # what `ray memory` prints

from pipelines.cluster.ray_internals import listen_on_loopback_only

DRIVER, WORKER, RAY = "driver", "worker", "ray"
"""The roles: the command itself, the processes that run its actors and tasks, and Ray's own processes."""


@dataclass(frozen=True, slots=True)
class Held:
    """Holds the resources of one process.

    Bytes are its proportional set size, which counts memory shared by several processes once among them.
    """

    pid: int
    began: float  # distinguishes it from a later process with the same pid
    role: str
    name: str  # of its program, or of what Ray runs in it
    private: int  # bytes that are not shared memory: heap, stacks, libraries
    shared: int  # bytes of shared memory: pages of the object store
    files: int  # open descriptors
    threads: int


def held(root: psutil.Process) -> list[Held]:
    """Measures a process and all its descendants; skips those that end meanwhile."""
    found = []
    try:
        tree = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
    for process in tree:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            sizes = set_sizes(process.pid)
            shared = sizes.get("Pss_Shmem", 0)
            command = process.cmdline()
            role = DRIVER if process == root else role_of(command)
            counts = process.num_fds(), process.num_threads()
            which = process.pid, process.create_time(), role, name_of(command)
            found.append(Held(*which, sizes["Pss"] - shared, shared, *counts))
        except (psutil.NoSuchProcess, psutil.AccessDenied, ProcessLookupError, FileNotFoundError):
            continue
    return found


def set_sizes(pid: int) -> dict[str, int]:
    """Returns the fields of a process's smaps_rollup in bytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {name: int(kilobytes.split()[0]) << 10 for name, _, kilobytes in (line.partition(":") for line in lines)}


def role_of(command: list[str]) -> str:
    """Returns the role of a child process. Ray names its workers by what they run."""
    return WORKER if command and command[0].startswith("ray::") else RAY


def name_of(command: list[str]) -> str:
    """Returns the name of a program: the file of a script, what Ray runs in a worker, or the executable's file."""
    scripts = [word for word in command if word.endswith(".py")]
    return Path(scripts[0]).name if scripts else command[0].split("/")[-1] if command else "?"


def shared_memory_files(processes: list[Held]) -> set[str]:
    """Returns the files in /dev/shm that the processes have open, except deleted ones."""
    names = set()
    for process in processes:
        try:
            links = list(Path(f"/proc/{process.pid}/fd").iterdir())
        except OSError:
            continue
        for link in links:
            try:
                name = str(link.readlink())
            except OSError:
                continue
            if name.startswith("/dev/shm/") and not name.endswith(" (deleted)"):
                names.add(name)
    return names


def is_alive(process: Held) -> bool:
    """Returns whether exactly this process is still running."""
    try:
        found = psutil.Process(process.pid)
        return found.create_time() == process.began and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class ObjectStore:
    """Reports the object store of a running cluster, by querying its raylet."""

    def __init__(self, address: str) -> None:
        with listen_on_loopback_only():  # otherwise Ray replaces the loopback address of a local cluster
            state = ray_numbers.get_state_from_address(address)
        node = state.node_table()[0]
        state.disconnect()  # otherwise it ends this process when the cluster ends
        self.raylet = node["NodeManagerAddress"], node["NodeManagerPort"]

    @classmethod
    def of(cls, processes: Iterable[Held]) -> "ObjectStore | None":
        """Returns the store of the raylet among these processes; None if there is none."""
        for process in processes:
            try:
                words = psutil.Process(process.pid).cmdline()
            except psutil.NoSuchProcess:
                continue
            for word in words:
                if word.startswith("--gcs-address=") and words[0].endswith("raylet"):
                    return cls(word.partition("=")[2])
        return None

    def holds(self) -> tuple[int, int]:
        """Returns the number of objects and their bytes; zeros while the cluster shuts down."""
        try:
            stats = ray_numbers.get_memory_info_reply(None, *self.raylet, timeout_seconds=2.0).store_stats
        except Exception:  # noqa: BLE001  an error of gRPC, or an assertion if no node is alive
            return 0, 0
        return stats.num_local_objects, stats.object_store_bytes_used
