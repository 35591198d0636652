"""Finds the input shards of a run, with their paths, names and sizes."""

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from schemas.compression import check_uncompressed
from schemas.errors import UsageError
from schemas.layouts.datacomp import downloaded_keys
from schemas.masking import masked
from schemas.storage.folder import Folder, split
from schemas.storage.matching import sizes_of_matching
from schemas.storage.parquet import UnreadableParquet


@dataclass(frozen=True, slots=True)
class InputShard:
    """Describes one input file. `name` is its file name without the ending; outputs are named after it."""

    name: str
    path: str
    listed: int | None = None  # bytes, from the listing: otherwise an object store gets one request a shard
    longer_name: str = ""  # distinguishes it from a same-named file; else empty

    @property
    def source(self) -> str:
        """Returns its name in an output that several inputs go into."""
        return self.longer_name or self.name

    @property
    def label(self) -> str:
        """Returns its name in manifests: its path, without a URL's secrets."""
        return masked(self.path)

    def folder(self) -> tuple[Folder, str]:
        """Returns the file's folder and its name there."""
        return split(self.path)

    def size(self) -> int:
        """Returns the file's size in bytes."""
        if self.listed is not None:
            return self.listed
        folder, file_name = self.folder()
        return folder.size(file_name)


def input_shards(patterns: Sequence[str], ending: str) -> list[InputShard]:
    """Returns the files that the globs match, in the order of their paths. Raises `UsageError` for same-named files."""
    shards: dict[str, InputShard] = {}
    for shard in shards_of_any_folder(patterns, ending):
        if shard.name in shards:
            raise UsageError(
                f"{shards[shard.name].path} and {shard.path} would both give an output named {shard.name}: "
                "write them into separate outputs"
            )
        shards[shard.name] = shard
    return list(shards.values())


def shards_of_any_folder(patterns: Sequence[str], ending: str) -> list[InputShard]:
    """Returns the files that the globs match, for outputs that are not named after them. Same-named files get labels.

    Raises `UsageError` for a file without the ending, or one that two paths name.
    """
    sizes = {path: size for pattern in patterns for path, size in sizes_of_matching(pattern).items()}
    names: dict[str, list[str]] = {}
    for path in sorted(sizes):
        name = path.rsplit("/", 1)[-1]
        if not name.endswith(ending):
            check_uncompressed(path)
            raise UsageError(f"{path} is no {ending} file: the glob should match shards alone")
        names.setdefault(name.removesuffix(ending), []).append(path)
    labels: dict[str, str] = {}
    for paths in names.values():
        if len(paths) > 1:
            refuse_repeated(paths)
            labels |= {path: label.removesuffix(ending) for path, label in labels_of(paths).items()}
    shards = [
        InputShard(name, path, sizes[path], labels.get(path, "")) for name, paths in names.items() for path in paths
    ]
    return sorted(shards, key=lambda shard: shard.path)


def refuse_repeated(paths: Sequence[str]) -> None:
    """Raises `UsageError` when two paths name one file, whose samples would occur twice."""
    files: dict[str, str] = {}
    for path in paths:
        file = path if "://" in path else os.path.realpath(path)
        if file in files:
            raise UsageError(f"{files[file]} and {path} are the same file: name it once")
        files[file] = path


def labels_of(paths: Sequence[str]) -> dict[str, str]:
    """Cuts paths to their shortest distinct ends: `images/a/0.tar` and `images/b/0.tar` to `a/0.tar` and `b/0.tar`."""
    parts = {path: path.split("/") for path in paths}
    for depth in range(1, max(map(len, parts.values()))):
        labels = {path: "/".join(each[-depth:]) for path, each in parts.items()}
        if len(set(labels.values())) == len(paths):
            return labels
    return {path: path for path in paths}


def missing_downloads(folder: Folder, name: str, keys: list[str]) -> list[str]:
    """Returns the damage of a tar: the samples that its side Parquet file lists as downloaded and the tar lacks."""
    side = f"{name}.parquet"
    if not folder.exists(side):
        return []
    there = {key.rpartition("/")[2] for key in keys}  # repacked tars may have `./` before their keys
    try:
        listed = downloaded_keys(io.BytesIO(folder.read(side)), max(map(len, there), default=0))
    except (pa.ArrowException, OSError, UnreadableParquet) as error:
        return [f"{side} can't be read: {error}"]
    missing = sorted(set(listed or []) - there)
    if not missing:
        return []
    some = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
    return [f"{len(missing)} samples that {side} lists are not in the tar: {some}"]
