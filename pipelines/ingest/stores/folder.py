"""Images in a folder, found by their names."""

import os
from collections.abc import Iterator
from pathlib import Path

from pipelines.cluster.runner import Runner
from pipelines.ingest.stores.store import revision_of
from schemas.output_set.recipe_file import RECIPE_FILE
from schemas.records.quarantine import Reason, Rejected
from schemas.storage.folder import Folder


class FolderStore:
    """Files by their names, or by paths below the folder.

    Its revision is the names and sizes of all that is in it, listed once a run: half a minute for a million on a
    local disk, a request for each thousand elsewhere. Nothing else should be written into it between a run and the
    one that goes on: only output sets are passed over, wherever they lie in it.
    """

    def __init__(self, url: str) -> None:
        self._folder = Folder(url)
        self.revision = revision_of(url, files_below(self._folder))

    def prepare(self, output: Folder, runner: Runner) -> None:
        """Nothing."""

    def get(self, address: str) -> bytes | None:
        """See `ImageStore`."""
        return None if "://" in address else read_below(self._folder, address)


def read_below(folder: Folder, name: str) -> bytes | None:
    """A file of a folder, None when it isn't there. Raises `Rejected` for a name that leads out of it.

    Names come from data, and may not leave the folder. Links below it do not: whoever has made the folder put them
    there, as people do whose images lie on several disks.
    """
    parts = name.split("/")
    if not name or name.startswith("/") or ".." in parts or "\\" in name or "\0" in name or "://" in name:
        raise Rejected(Reason.LOST_IMAGE, f"{name[:200]!r} is no name of a file below {folder.url}")
    if not folder.exists(name):
        return None
    if folder.is_local and not folder.local_path(name).is_file():  # a folder, a device
        raise Rejected(Reason.LOST_IMAGE, f"{name[:200]!r} is no file below {folder.url}")
    return folder.read(name)


def files_below(folder: Folder) -> Iterator[tuple[str, int]]:
    """Name below the folder, and bytes, of each file, in one order; not those of output sets, nor hidden files."""
    if not folder.is_local:
        sizes = folder.sizes_below()
        sets = tuple(name.removesuffix(RECIPE_FILE) for name in sizes if f"/{name}".endswith(f"/{RECIPE_FILE}"))
        yield from ((name, sizes[name]) for name in sorted(sizes) if not name.startswith(sets) and not _is_hidden(name))
        return
    top = folder.local_path("")
    walked: set[str] = set()  # links may lead back to where they are
    for place, folders, names in os.walk(top, followlinks=True):
        real = os.path.realpath(place)
        if RECIPE_FILE in names or real in walked:
            folders.clear()
            continue
        walked.add(real)
        folders.sort()
        inside = Path(place).relative_to(top).as_posix()
        for name in sorted(names):
            if not _is_hidden(name):
                below = f"{inside}/{name}"
                yield below, local_size(folder, below)


def _is_hidden(name: str) -> bool:
    return name.rpartition("/")[2].startswith(".")


def local_size(folder: Folder, name: str) -> int:
    """Bytes of a file on a local disk; -1 where there is none."""
    try:
        return folder.local_path(name).stat().st_size
    except (OSError, ValueError):  # not there, or no name at all
        return -1


def is_folder(pattern: str) -> bool:
    """Says whether a path or URL is that of a folder, not a glob."""
    folder = Folder(pattern)
    if folder.is_local:
        return folder.local_path("").is_dir()
    return "*" not in pattern and not pattern.endswith(".tar") and folder.exists() and bool(folder.names())
