"""Defines the interface of image stores, which return the images of a set that holds only URLs or file names."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Protocol

from pipelines.cluster.runner import Runner
from schemas.output_set.manifest import InputFile
from schemas.records.quarantine import Reason, Rejected
from schemas.storage.folder import Folder


class ImageStore(Protocol):
    """Returns images by URL or file name. Its pickle must be small, since it is sent to Ray workers."""

    revision: InputFile
    """Identifies the state of the store, by the names and sizes of its files."""

    @property
    def damage(self) -> Sequence[str]:
        """Names the parts of the store that cannot be read, and where; known after `prepare`."""

    def prepare(self, output: Folder, runner: Runner) -> None:
        """Does what is needed once per run, before the first `get`."""

    def get(self, address: str) -> bytes | None:
        """Returns the bytes of the image's file, or None if the store lacks it.

        Raises `Rejected` for an address that must not be followed, or whose download failed.
        """


def find_image(stores: Sequence[ImageStore], address: str) -> bytes:
    """Returns the image's file from the first store that has it. Raises `Rejected(lost_image)` if none does."""
    for store in stores:
        if (data := store.get(address)) is not None:
            return data
    raise Rejected(Reason.LOST_IMAGE, f"{address[:200]} is in no store")


def compute_revision(path: str, files: Iterable[tuple[str, int]]) -> InputFile:
    """Returns the revision of these files: a hash of their names and sizes in bytes, and the sum of the sizes."""
    digest, total = hashlib.sha256(), 0
    for name, size in files:
        digest.update(json.dumps([name, size]).encode())
        total += max(size, 0)
    return InputFile(path=path, size=total, sha256=digest.hexdigest())
