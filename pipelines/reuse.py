"""Annotations that are there already: a set of the same images, to which a recipe adds engines.

The new set is a set of its own, with the bytes that all engines in one pass would have given; the old one is only read.
"""

import hashlib
import io
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.chunks import VERDICT_COLUMNS
from pipelines.engines import COLUMNS
from pipelines.inputs import InputShard
from pipelines.output import DATA, QUARANTINE, committed, read_manifest
from pipelines.parts import ENGINE
from pipelines.recipe import AnnotateRecipe, EngineKind, held_recipe
from pipelines.storage import Folder
from schemas.errors import UsageError
from schemas.failure import FAILURES
from schemas.fingerprint import EngineFingerprint


@dataclass(frozen=True, slots=True)
class Reuse:
    """What a run takes from an earlier set."""

    folder: Folder
    kinds: list[EngineKind]
    fingerprints: dict[str, EngineFingerprint]


def find_reuse(recipe: AnnotateRecipe, shards: list[InputShard]) -> Reuse | None:
    """The engines whose annotations can be taken over, None without `run.reuse`. Raises `UsageError` if none can."""
    if recipe.run.reuse is None:
        return None
    folder = Folder(recipe.run.reuse)
    held, asked = held_recipe(folder), recipe.resolved()
    if held.get("kind") != recipe.kind:
        raise UsageError(f"{folder.url} is no annotation set, but one of kind {held.get('kind')!r}")
    for name in (name for name in asked if name not in ("engines", "max_engine_errors")):
        if held.get(name) != asked[name]:
            raise UsageError(f"{folder.url}: {name} is {held.get(name)!r} there and {asked[name]!r} here")
    kinds = [kind for kind in recipe.engines if held["engines"].get(kind) == asked["engines"][kind]]
    if "tags" not in kinds and "boxes" in kinds:
        kinds.remove("boxes")  # they were looked for by other tags
    if not kinds:
        raise UsageError(f"{folder.url} holds nothing of the engines that are asked for")
    manifests = committed(folder)
    if missing := [shard.name for shard in shards if shard.name not in manifests]:
        raise UsageError(f"{folder.url} is not finished: it lacks {len(missing)} shards ({', '.join(missing[:3])})")
    engines = next((manifest.engines for manifest in manifests.values() if manifest.engines), {})
    return Reuse(folder, kinds, {kind: engines[kind] for kind in kinds if kind in engines})


class ReusedShard:
    """The annotations of one shard by key."""

    def __init__(self, reuse: Reuse, name: str) -> None:
        self.reuse, self.name = reuse, name
        manifest = read_manifest(reuse.folder, f"{name}.json")
        files = {out.path: out.sha256 for out in manifest.outputs}
        self.input_sha256 = manifest.inputs[0].sha256
        self.good = self._rows(f"{DATA}/{name}.parquet", files)
        self.bad = self._rows(f"{QUARANTINE}/{name}.parquet", files)

    def _rows(self, path: str, files: dict[str, str]) -> dict[str, dict[str, Any]]:
        if path not in files:
            return {}
        data = self.reuse.folder.read(path)
        if hashlib.sha256(data).hexdigest() != files[path]:
            raise UsageError(f"{self.reuse.folder.path(path)} is not what was committed: verify that set")
        return {row["key"]: row for row in pq.read_table(io.BytesIO(data)).to_pylist()}

    def check(self, sha256: str) -> None:
        """Raises `UsageError` when the shard is not the one that was annotated; known once it has been read."""
        if sha256 != self.input_sha256:
            raise UsageError(f"shard {self.name} has changed since {self.reuse.folder.url} was made from it")

    def with_annotations(self, samples: pa.Table) -> pa.Table:
        """A chunk's samples with the columns, the failures and the verdicts that they had."""
        rows = samples.select(["key", FAILURES.name, *(field.name for field in VERDICT_COLUMNS)]).to_pylist()
        for row in rows:
            good, bad = self.good.get(row["key"], {}), self.bad.get(row["key"])
            row |= {kind: good.get(kind) for kind in self.reuse.kinds}
            row[FAILURES.name] = [failure for failure in good.get(FAILURES.name, ()) if failure["engine"] in row]
            if bad is not None and bad["stage"] in self.reuse.kinds:  # it was the only engine
                row[FAILURES.name] = [{"engine": bad["stage"], "reason": bad["reason"], "detail": bad["detail"]}]
            elif bad is not None and row["reason"] is None:
                row |= {field.name: bad[field.name] for field in VERDICT_COLUMNS}
        fields = [COLUMNS[kind] for kind in self.reuse.kinds]
        found = pa.Table.from_pylist(rows, schema=pa.schema([FAILURES, *VERDICT_COLUMNS, *fields]))
        samples = samples.drop_columns([name for name in found.column_names if name in samples.column_names])
        for field in found.schema:
            samples = samples.append_column(field, found[field.name])
        metadata = {f"{ENGINE}{kind}": print_.model_dump_json() for kind, print_ in self.reuse.fingerprints.items()}
        return samples.replace_schema_metadata(metadata)
