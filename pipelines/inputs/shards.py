"""The input shards of a run: their paths, names and sizes."""

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
    """One input file. `name` is its file name without the ending: outputs are named after it."""

    name: str
    path: str
    listed: int | None = None  # bytes, where they were listed: an object store would be asked once a shard
    longer_name: str = ""  # what tells it from another input of its name; else empty

    @property
    def source(self) -> str:
        """What outputs that several inputs go into call it."""
        return self.longer_name or self.name

    @property
    def label(self) -> str:
        """What manifests call it: its path, without a URL's secrets."""
        return masked(self.path)

    def folder(self) -> tuple[Folder, str]:
        """The folder it lies in and its file name there."""
        return split(self.path)

    def size(self) -> int:
        """Its size in bytes."""
        if self.listed is not None:
            return self.listed
        folder, file_name = self.folder()
        return folder.size(file_name)


def input_shards(patterns: Sequence[str], ending: str) -> list[InputShard]:
    """The files that the globs match, in the order of their paths; each name may occur once."""
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
    """Finds the same for outputs with names of their own: inputs of one name get labels. No file may occur twice."""
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
    """Raises `UsageError` when two paths lead to one file: its samples would be there twice."""
    files: dict[str, str] = {}
    for path in paths:
        file = path if "://" in path else os.path.realpath(path)
        if file in files:
            raise UsageError(f"{files[file]} and {path} are the same file: name it once")
        files[file] = path


def labels_of(paths: Sequence[str]) -> dict[str, str]:
    """Cuts paths to the ends that tell them apart: `images/a/0.tar` and `images/b/0.tar` to `a/0.tar` and `b/0.tar`."""
    parts = {path: path.split("/") for path in paths}
    for depth in range(1, max(map(len, parts.values()))):
        labels = {path: "/".join(each[-depth:]) for path, each in parts.items()}
        if len(set(labels.values())) == len(paths):
            return labels
    return {path: path for path in paths}


def missing_downloads(folder: Folder, name: str, keys: list[str]) -> list[str]:
    """What the side Parquet lists as downloaded and the tar does not hold."""
    side = f"{name}.parquet"
    if not folder.exists(side):
        return []
    there = {key.rpartition("/")[2] for key in keys}  # tars that were packed anew may have `./` before their keys
    try:
        listed = downloaded_keys(io.BytesIO(folder.read(side)), max(map(len, there), default=0))
    except (pa.ArrowException, OSError, UnreadableParquet) as error:
        return [f"{side} can't be read: {error}"]
    missing = sorted(set(listed or []) - there)
    if not missing:
        return []
    some = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
    return [f"{len(missing)} samples that {side} lists are not in the tar: {some}"]
