"""Reads images from a folder by their file names."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipelines.cluster.runner import Runner
from pipelines.ingest.stores.store import compute_revision
from schemas.hidden_files import is_hidden_path
from schemas.output_set.recipe_file import RECIPE_FILE
from schemas.records.quarantine import Reason, Rejected
from schemas.storage.folder import Folder


class FolderStore:
    """Finds files by their names, or by paths below the folder; an `ImageStore`.

    Its revision covers the names and sizes of all files in it, listed once per run: half a minute for a million on a
    local disk, a request for each thousand elsewhere. Nothing else should be written into it between a run and the one
    that resumes it. The listing skips output sets anywhere below the folder, and hidden files.
    """

    damage: Sequence[str] = ()

    def __init__(self, url: str) -> None:
        self._folder = Folder(url)
        self.revision = compute_revision(url, list_files(self._folder))

    def prepare(self, output: Folder, runner: Runner) -> None:
        """Does nothing: the folder is read as it is."""

    def get(self, address: str) -> bytes | None:
        """See `ImageStore`."""
        return None if "://" in address else read_below(self._folder, address)


def read_below(folder: Folder, name: str) -> bytes | None:
    """Reads a file of a folder; returns None if it doesn't exist. Raises `Rejected` for a name that leaves the folder.

    Names come from data, so they must not lead out of the folder. Symbolic links in it are followed: the folder's
    owner made them, for images on several disks for example.
    """
    parts = name.split("/")
    if not name or name.startswith("/") or ".." in parts or "\\" in name or "\0" in name or "://" in name:
        raise Rejected(Reason.LOST_IMAGE, f"{name[:200]!r} is not the name of a file below {folder.url}")
    if not folder.exists(name):
        return None
    if folder.is_local and not folder.get_local_path(name).is_file():  # a folder, a device
        raise Rejected(Reason.LOST_IMAGE, f"{name[:200]!r} is not a file below {folder.url}")
    return folder.read(name)


def list_files(folder: Folder) -> Iterator[tuple[str, int]]:
    """Yields path below the folder and bytes of each file, in a fixed order, without output sets and hidden files."""
    if not folder.is_local:
        sizes = folder.list_sizes()
        sets = tuple(name.removesuffix(RECIPE_FILE) for name in sizes if f"/{name}".endswith(f"/{RECIPE_FILE}"))
        kept = (name for name in sorted(sizes) if not name.startswith(sets) and not is_hidden_path(name))
        yield from ((name, sizes[name]) for name in kept)
        return
    top = folder.get_local_path("")
    walked: set[str] = set()  # links may form a loop
    for place, folders, names in os.walk(top, followlinks=True):
        real = os.path.realpath(place)
        if RECIPE_FILE in names or real in walked:
            folders.clear()
            continue
        walked.add(real)
        folders[:] = sorted(name for name in folders if not is_hidden_path(f"{name}/a"))
        inside = Path(place).relative_to(top).as_posix()
        for name in sorted(names):
            below = f"{inside}/{name}"
            if not is_hidden_path(below):
                yield below, get_local_size(folder, below)


def get_local_size(folder: Folder, name: str) -> int:
    """Returns the size of a file on a local disk in bytes; -1 if there is none."""
    try:
        return folder.get_local_path(name).stat().st_size
    except (OSError, ValueError):  # missing, or not a valid name
        return -1


def is_folder(pattern: str) -> bool:
    """Returns whether a path or URL is that of a folder rather than a glob."""
    folder = Folder(pattern)
    if folder.is_local:
        return folder.get_local_path("").is_dir()
    return "*" not in pattern and not pattern.endswith(".tar") and folder.exists() and bool(folder.list_files())
