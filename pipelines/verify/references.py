"""Checks the images that a set by reference refers to: one line for each tar that is missing or has changed."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from curation.mixture.ranges import ByteRange, RangeReader
from curation.mixture.references import locate_row
from schemas.output_set.image_folders import ADVICE
from schemas.output_set.layout import INDEX
from schemas.storage.folder import Folder
from schemas.storage.parquet import iterate_batches, open_parquet
from schemas.storage.row_objects import iterate_rows

BUFFER_BYTES = 64 << 20  # bytes of images in memory at once

_COLUMNS = ["key", "references", "image_details"]
_Image = tuple[str, ByteRange, str]
"""The key of an image's sample, its place, and its SHA-256."""


@dataclass(slots=True)
class _Tar:
    """Counts the images of one tar that were checked, and those that differ."""

    size: int | None  # bytes; None if there is no such file
    images: int = 0
    changed: int = 0
    first: str = ""  # the key of the first image that differs


@dataclass(slots=True)
class ReferenceCheck:
    """Checks the references of a set's outputs, one output after another."""

    folders: Mapping[str, str]
    """The present folders of the image tars, by the recorded ones."""
    reads_images: bool
    """Whether each image is read and hashed; else only the places in the tars are checked."""
    _tars: dict[str, _Tar] = field(default_factory=dict)
    _reader: RangeReader = field(default_factory=RangeReader)

    def check(self, folder: Folder, name: str) -> None:
        """Checks the references in the index of an output.

        Raises `ValueError` for a reference that leads astray, and `ShardloomError` for a tar that cannot be read.
        """
        path = f"{INDEX}/{name}.parquet"
        images: list[_Image] = []
        with folder.open(path) as file:
            for batch in iterate_batches(open_parquet(file, folder.resolve_path(path)), columns=_COLUMNS):
                for row in iterate_rows(batch):
                    images += self._list_images(row)
                    if sum(place.size for _, place, _ in images) > BUFFER_BYTES:
                        self._check_images(images)
                        images = []
        self._check_images(images)

    def list_faults(self) -> Iterator[str]:
        """Yields one line for each tar with a fault, and closes the files."""
        self._reader.close()
        for path, tar in sorted(self._tars.items()):
            if tar.size is None:
                yield f"{path}: is missing, with {tar.images} images of this set, first that of {tar.first}: {ADVICE}"
            elif tar.changed:
                yield (
                    f"{path}: has changed: {tar.changed} of {tar.images} images of this set differ, first that of "
                    f"{tar.first}: restore it, or make the set again"
                )

    def _list_images(self, row: dict[str, Any]) -> Iterator[_Image]:
        references, images = locate_row(row, self.folders)["references"], row["image_details"]
        if references is None:
            return
        if len(references) != len(images):
            raise ValueError(f"sample {row['key']} has {len(images)} images and refers to {len(references)}")
        for reference, details in zip(references, images, strict=True):
            yield (
                row["key"],
                ByteRange(reference["tar"], reference["offset"], reference["size"], True),
                details["sha256"],
            )

    def _check_images(self, images: list[_Image]) -> None:
        by_tar: dict[str, list[_Image]] = {}
        for image in images:
            by_tar.setdefault(image[1].path, []).append(image)
        for path, found in by_tar.items():
            if path not in self._tars:
                self._tars[path] = _Tar(self._find_size(path))
            self._check_tar(self._tars[path], found)

    def _find_size(self, path: str) -> int | None:
        folder, name = self._reader.find_file(path)
        return folder.get_size(name) if folder.exists(name) else None

    def _check_tar(self, tar: _Tar, images: list[_Image]) -> None:
        tar.images += len(images)
        bad = [key for key, *_ in images]
        if (size := tar.size) is not None:
            inside = [image for image in images if 0 <= image[1].offset <= image[1].offset + image[1].size <= size]
            bad = self._find_changed(images, inside)
        tar.changed += len(bad)
        tar.first = tar.first or next(iter(bad), "")

    def _find_changed(self, images: list[_Image], inside: list[_Image]) -> list[str]:
        """Returns the keys of the images that differ or are not inside their tar, in the order of the index."""
        if self.reads_images:
            parts = self._reader.read([place for _, place, _ in inside])
            inside = [
                image for image, data in zip(inside, parts, strict=True) if hashlib.sha256(data).hexdigest() == image[2]
            ]
        sound = {id(image) for image in inside}
        return [image[0] for image in images if id(image) not in sound]
