"""The input shards of a run: their paths, names and sizes."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from schemas.errors import UsageError
from schemas.layouts.datacomp import downloaded_keys
from schemas.masking import masked
from schemas.storage.folder import Folder, split
from schemas.storage.matching import sizes_of_matching


@dataclass(frozen=True, slots=True)
class InputShard:
    """One input file. `name` is its file name without the ending: outputs are named after it."""

    name: str
    path: str
    listed: int | None = None  # bytes, where they were listed: an object store would be asked once a shard

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
    sizes = {path: size for pattern in patterns for path, size in sizes_of_matching(pattern).items()}
    for path in sorted(sizes):
        name = path.rsplit("/", 1)[-1]
        if not name.endswith(ending):
            raise UsageError(f"{path} is no {ending} file: the glob should match shards alone")
        shard = InputShard(name.removesuffix(ending), path, sizes[path])
        if shard.name in shards:
            raise UsageError(
                f"{shards[shard.name].path} and {path} would both give an output named {shard.name}: "
                "write them into separate outputs"
            )
        shards[shard.name] = shard
    return list(shards.values())


def missing_downloads(folder: Folder, name: str, keys: list[str]) -> list[str]:
    """What the side Parquet lists as downloaded and the tar does not hold."""
    side = f"{name}.parquet"
    if not folder.exists(side):
        return []
    try:
        listed = downloaded_keys(io.BytesIO(folder.read(side)))
    except pa.ArrowException as error:
        return [f"{side} can't be read: {error}"]
    missing = sorted(set(listed or []) - set(keys))
    if not missing:
        return []
    some = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
    return [f"{len(missing)} samples that {side} lists are not in the tar: {some}"]
