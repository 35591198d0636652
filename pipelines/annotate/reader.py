"""Reads shards and yields chunks, as the source of the graph. Each shard is read once, from start to end."""

from collections.abc import Iterator

import pyarrow as pa

from pipelines.annotate.chunks import build_samples_table, compute_digest, count_tar_bytes, cut_chunks
from pipelines.annotate.messages import Chunk, ShardEnd, WrittenPart, encode_message
from pipelines.annotate.parts import get_part_name, is_valid_part
from pipelines.annotate.reuse import Reuse, ReusedShard
from pipelines.cluster.failure import Failure
from pipelines.inputs.shards import InputShard, find_missing_downloads
from pipelines.recipes.annotate import AnnotateRecipe
from schemas.errors import ShardloomError
from schemas.storage.folder import Folder
from schemas.storage.retries import take_retry_count
from schemas.tar.reader import TarReader

SHARD_SCHEMA = pa.schema([("name", pa.string()), ("path", pa.string())])


def encode_shard(shard: InputShard) -> pa.Table:
    """Returns a shard as a block of Ray Data."""
    return pa.table({"name": [shard.name], "path": [shard.path]}, schema=SHARD_SCHEMA)


class ShardReader:
    """Cuts shards into chunks. For a chunk with a valid part in the output it only yields a `WrittenPart`."""

    def __init__(self, recipe: AnnotateRecipe, output: Folder, parts: list[str], reuse: Reuse | None = None) -> None:
        self.recipe, self.output, self.parts, self.reuse = recipe, output, frozenset(parts), reuse
        self.recipe_sha256 = recipe.compute_sha256()

    def __call__(self, row: pa.Table) -> Iterator[pa.Table]:
        """Yields one row for each chunk of a shard, then one for its `ShardEnd`; a `Failure` for a foreseen error."""
        try:
            yield from self._read(InputShard(row["name"][0].as_py(), row["path"][0].as_py()))
        except ShardloomError as error:
            yield encode_message(Failure.from_error(error))

    def _read(self, shard: InputShard) -> Iterator[pa.Table]:
        folder, file_name = shard.split_path()
        reused = ReusedShard(self.reuse, shard.name) if self.reuse else None
        digests: list[str] = []
        keys: list[str] = []
        unreadable = 0
        with folder.open(file_name) as file:
            reader = TarReader(file)
            for index, samples in enumerate(cut_chunks(reader, self.recipe.chunk)):
                # A part depends on the reused annotations: without them it must not count as valid.
                digests.append(compute_digest(samples) + (f" {reused.input_sha256}" if reused else ""))
                keys += [sample.key for sample in samples]
                unreadable += sum(sample.has_unreadable_metadata for sample in samples)
                size = sum(count_tar_bytes(sample.tar) for sample in samples)
                if self._is_done(shard.name, index, digests[-1]):
                    yield encode_message(WrittenPart(shard.name, index, size))
                else:
                    table = build_samples_table(samples)
                    table = reused.with_annotations(table) if reused else table
                    yield encode_message(Chunk(shard.name, index, digests[-1], size, table))
        if reused:
            reused.check_sha256(reader.sha256)
        damage = [f"byte {damage.offset}: {damage.description}" for damage in reader.damage]
        damage += find_missing_downloads(folder, shard.name, keys)
        read = (shard.name, shard.path, reader.size, reader.sha256, digests, len(keys), damage)
        yield encode_message(ShardEnd(*read, take_retry_count(), reader.hidden_files, unreadable))

    def _is_done(self, shard: str, index: int, digest: str) -> bool:
        name = get_part_name(shard, index)
        return name in self.parts and is_valid_part(self.output, name, digest, self.recipe_sha256)
