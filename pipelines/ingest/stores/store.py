"""Where the images are that a set only has addresses of: what every store of images offers."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Protocol

from pipelines.cluster.runner import Runner
from schemas.output_set.manifest import InputFile
from schemas.records.quarantine import Reason, Rejected
from schemas.storage.folder import Folder


class ImageStore(Protocol):
    """Images by their addresses. Pickles small, so that Ray workers can take it."""

    revision: InputFile
    """Tells two states of the store apart, by names and sizes."""

    def prepare(self, output: Folder, runner: Runner) -> None:
        """What has to be done once a run, before the first `get`."""

    def get(self, address: str) -> bytes | None:
        """The image's file, None when it isn't there. Raises `Rejected`: the address is none that may be followed."""


def find(stores: Sequence[ImageStore], address: str) -> bytes:
    """The image's file. Raises `Rejected`: it is in no store."""
    for store in stores:
        if (data := store.get(address)) is not None:
            return data
    raise Rejected(Reason.LOST_IMAGE, f"{address[:200]} is in no store")


def revision_of(path: str, files: Iterable[tuple[str, int]]) -> InputFile:
    """The state of these files: their names and sizes."""
    digest, total = hashlib.sha256(), 0
    for name, size in files:
        digest.update(json.dumps([name, size]).encode())
        total += max(size, 0)
    return InputFile(path=path, size=total, sha256=digest.hexdigest())
