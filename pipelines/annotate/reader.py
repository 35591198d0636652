"""Reads shards and yields chunks, as the source of the graph. Each shard is read once, from start to end."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pyarrow as pa

from pipelines.annotate.chunks import build_samples_table, compute_digest, count_tar_bytes, cut_chunks
from pipelines.annotate.claims.claim import Claim
from pipelines.annotate.claims.source import ShardSource
from pipelines.annotate.messages import Chunk, ShardEnd, WrittenPart, encode_message
from pipelines.annotate.parts import get_part_name, is_valid_part
from pipelines.annotate.retries.rows import RetriedRows
from pipelines.annotate.reuse import Reuse, ReusedShard
from pipelines.annotate.slices import TailPlan
from pipelines.cluster.failure import Failure
from pipelines.inputs.shards import ChosenSamples, find_missing_downloads
from pipelines.recipes.annotate import AnnotateRecipe
from schemas.errors import ShardloomError
from schemas.output_set.layout import PARTS
from schemas.storage.folder import Folder
from schemas.storage.retries import take_retry_count
from schemas.tar.reader import TarReader

_NO_TAIL = TailPlan()


class ShardReader:
    """Cuts shards into chunks. For a chunk with a valid part in the output it only yields a `WrittenPart`.

    `parts` names the parts that were there when the run began.
    """

    def __init__(
        self,
        recipe: AnnotateRecipe,
        output: Folder,
        parts: Iterable[str],
        source: ShardSource,
        reuse: Reuse | None = None,
        tail: TailPlan = _NO_TAIL,
        retried: RetriedRows | None = None,
    ) -> None:
        self.recipe, self.output, self.parts, self.source = recipe, output, frozenset(parts), source
        self.reuse, self.tail, self.retried = reuse, tail, retried
        self.recipe_sha256 = recipe.compute_sha256()

    def __call__(self, row: pa.Table) -> Iterator[pa.Table]:
        """Yields one row for each chunk of a shard, then one for its `ShardEnd`; a `Failure` for a foreseen error.

        Yields nothing where no shard is left. Ray Data makes an empty block of that.
        """
        try:
            if (claim := self.source.resolve(row)) is not None:
                yield from self._read(claim)
        except ShardloomError as error:
            yield encode_message(Failure.from_error(error))

    def _read(self, claim: Claim) -> Iterator[pa.Table]:
        shard, parts = claim.shard, self.parts
        if claim.had_owner:
            parts = frozenset(self.output.list_files(PARTS))
        folder, file_name = shard.split_path()
        to_read = shard.estimate_chosen_size() + self.tail.last[shard.name] if claim.is_last else 0
        reused = ReusedShard(self.reuse, shard.name) if self.reuse else None
        again = self.retried.open(self.output, shard.name) if self.retried else None
        chunk_keys: list[list[str]] = []
        digests: list[str] = []
        unreadable = seen = 0  # samples, and bytes of the tar
        with folder.open(file_name) as file:
            reader = TarReader(file)
            chosen = ChosenSamples(shard, reader)
            for samples in cut_chunks(chosen, self.recipe.chunk):
                index = len(digests)
                unreadable += sum(sample.has_unreadable_metadata for sample in samples)
                if again is not None:
                    chunk_keys.append([sample.key for sample in samples])
                    samples = again.select(samples)
                    if not samples:
                        continue
                # A part depends on the reused annotations: without them it must not count as valid.
                mark = reused.input_sha256 if reused else again.mark if again else None
                digests.append(compute_digest(samples) + (f" {mark}" if mark else ""))
                size = sum(count_tar_bytes(sample.tar) for sample in samples)
                seen += size
                if self._is_done(parts, get_part_name(shard.name, index), digests[-1]):
                    yield encode_message(WrittenPart(shard.name, index, size))
                else:
                    table = build_samples_table(samples)
                    table = reused.with_annotations(table) if reused else table
                    is_at_end = claim.is_last and to_read - seen <= self.tail.chunks * seen / (index + 1)
                    chunk = Chunk(shard.name, index, digests[-1], size, table, is_at_end=is_at_end)
                    yield from map(encode_message, self._cut(chunk) if is_at_end else [chunk])
        if reused:
            reused.check_sha256(reader.sha256)
        if again:
            again.check_sha256(shard.path, reader.sha256)
        damage = [f"byte {damage.offset}: {damage.description}" for damage in reader.damage]
        damage += find_missing_downloads(folder, shard.name, chosen.keys)
        read = (shard.name, shard.path, reader.size, reader.sha256, digests, len(chosen.keys), damage)
        counts = (take_retry_count(), reader.hidden_files, unreadable, chosen.left_out)
        yield encode_message(ShardEnd(*read, *counts, chunk_keys))

    def _cut(self, chunk: Chunk) -> Iterator[Chunk]:
        """Yields the slices of a chunk. Each has its share of the chunk's bytes."""
        assert chunk.table is not None
        rows, starts = chunk.table.num_rows, self.tail.cut(chunk.table.num_rows)
        if len(starts) == 1:
            yield chunk
            return
        for start, stop in itertools.pairwise([*starts, rows]):
            size = chunk.size * stop // rows - chunk.size * start // rows
            table = chunk.table.slice(start, stop - start)
            yield replace(chunk, size=size, table=table, start=start, of_rows=rows)

    def _is_done(self, parts: frozenset[str], name: str, digest: str) -> bool:
        return name in parts and is_valid_part(self.output, name, digest, self.recipe_sha256)
