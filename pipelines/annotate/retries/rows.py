"""Finds the rows of an annotation set that a retry works on again."""

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipelines.annotate.chunks import READ_STAGE, ChunkSample
from schemas.errors import ShardloomError
from schemas.output_set.layout import DATA, QUARANTINE, read_manifest, read_output
from schemas.output_set.manifest import Manifest
from schemas.records.failure import FAILURES_COLUMN
from schemas.storage.folder import Folder
from schemas.storage.parquet import UnreadableParquet, read_table


@dataclass(frozen=True, slots=True)
class RetriedShard:
    """Holds the keys of a committed shard's rows that are worked on again, and its outputs before that."""

    manifest: Manifest
    keys: frozenset[str]
    good: pa.Table | None  # None where the shard had no row
    bad: pa.Table

    @property
    def mark(self) -> str:
        """Returns what tells the parts of this retry from those of others."""
        state = json.dumps([self.manifest.attempts, sorted(self.keys)])
        return hashlib.sha256(state.encode()).hexdigest()

    def select(self, samples: Sequence[ChunkSample]) -> list[ChunkSample]:
        """Returns the samples of a chunk that are worked on again; not those that the reader quarantines."""
        return [one for one in samples if one.key in self.keys and one.row.get("reason") is None]

    def check_sha256(self, path: str, sha256: str) -> None:
        """Raises `ShardloomError` if the tar that was just read is not the one that was annotated."""
        if sha256 != self.manifest.inputs[0].sha256:
            raise ShardloomError(f"{path} has changed since it was annotated: annotate it into a new output folder")


@dataclass(frozen=True, slots=True)
class RetriedRows:
    """Says which rows are worked on again: the quarantined ones, and those that an engine has failed on.

    A fault that the reader finds is in the bytes of the tar, which have not changed.
    """

    reason: str | None  # the only reason; None: all

    def open(self, output: Folder, shard: str) -> RetriedShard:
        """Reads the outputs of a committed shard. Raises `ShardloomError` if they are not as they were committed."""
        manifest = read_manifest(output, f"{shard}.json")
        files = {out.path: out for out in manifest.outputs}

        def read(path: str) -> pa.Table | None:
            if path not in files:
                return None
            data = read_output(output, path, files[path].sha256, files[path].size)
            try:
                return read_table(io.BytesIO(data), path=output.resolve_path(path)).combine_chunks()
            except UnreadableParquet as error:
                raise ShardloomError(str(error)) from None

        good, bad = read(f"{DATA}/{shard}.parquet"), read(f"{QUARANTINE}/{shard}.parquet")
        assert bad is not None  # every output has one
        keys = {row["key"] for row in bad.to_pylist() if row["stage"] != READ_STAGE and self._is_wanted(row)}
        if good is not None and FAILURES_COLUMN.name in good.column_names:  # sets of older versions lack it
            rows = good.select(["key", FAILURES_COLUMN.name]).to_pylist()
            keys |= {row["key"] for row in rows if any(map(self._is_wanted, row[FAILURES_COLUMN.name]))}
        return RetriedShard(manifest, frozenset(keys), good, bad)

    def _is_wanted(self, fault: dict[str, Any]) -> bool:
        return self.reason is None or fault["reason"] == self.reason
