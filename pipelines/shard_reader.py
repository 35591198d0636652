"""The source of the graph: shards in, chunks out, each shard read once from its start to its end."""

import io
from collections.abc import Iterator

import pyarrow as pa

from pipelines.chunks import cut, digest_of, samples_table, tar_size_of
from pipelines.inputs import InputShard
from pipelines.messages import Chunk, Failure, ShardEnd, Written, to_row
from pipelines.parts import is_valid, part_name
from pipelines.recipes.annotate import AnnotateRecipe
from pipelines.reuse import Reuse, ReusedShard
from schemas.datacomp import downloaded_keys
from schemas.errors import ShardloomError
from schemas.resent import untold
from schemas.storage import Folder
from schemas.tar_reader import TarReader

SHARD = pa.schema([("name", pa.string()), ("path", pa.string())])


def shard_row(shard: InputShard) -> pa.Table:
    """A shard as a block of Ray Data."""
    return pa.table({"name": [shard.name], "path": [shard.path]}, schema=SHARD)


class ShardReader:
    """Cuts shards into chunks; of those that have a valid part in the output it only says so."""

    def __init__(self, recipe: AnnotateRecipe, output: Folder, parts: list[str], reuse: Reuse | None = None) -> None:
        self.recipe, self.output, self.parts, self.reuse = recipe, output, frozenset(parts), reuse
        self.recipe_sha256 = recipe.sha256()

    def __call__(self, row: pa.Table) -> Iterator[pa.Table]:
        """The rows of one shard's chunks, then the row of its end."""
        try:
            yield from self._read(InputShard(row["name"][0].as_py(), row["path"][0].as_py()))
        except ShardloomError as error:
            yield to_row(Failure.of(error))

    def _read(self, shard: InputShard) -> Iterator[pa.Table]:
        folder, file_name = shard.folder()
        reused = ReusedShard(self.reuse, shard.name) if self.reuse else None
        digests: list[str] = []
        keys: list[str] = []
        with folder.open(file_name) as file:
            reader = TarReader(file)
            for index, samples in enumerate(cut(reader, self.recipe.chunk)):
                # What was reused is part of what a part depends on: without it, it must not pass for valid.
                digests.append(digest_of(samples) + (f" {reused.input_sha256}" if reused else ""))
                keys += [sample.key for sample in samples]
                size = sum(map(tar_size_of, samples))
                if self._is_done(shard.name, index, digests[-1]):
                    yield to_row(Written(shard.name, index, size))
                else:
                    table = samples_table(samples)
                    table = reused.with_annotations(table) if reused else table
                    yield to_row(Chunk(shard.name, index, digests[-1], size, table))
        if reused:
            reused.check(reader.sha256)
        damage = [f"byte {damage.offset}: {damage.what}" for damage in reader.damage]
        damage += missing_downloads(folder, shard.name, keys)
        read = (shard.name, shard.path, reader.size, reader.sha256, digests, len(keys), damage)
        yield to_row(ShardEnd(*read, untold()))

    def _is_done(self, shard: str, index: int, digest: str) -> bool:
        name = part_name(shard, index)
        return name in self.parts and is_valid(self.output, name, digest, self.recipe_sha256)


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
