"""Annotations that are there already: a set of the same images, to which a recipe adds engines.

The new set is a set of its own, with the bytes that all engines in one pass would have given; the old one is only read.
Engines are taken for the same by their recipes: nothing is loaded to look at the weights or words behind a path anew.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curation.engines.kinds import KINDS, EngineKind
from pipelines.annotate.chunks import READ, VERDICT_COLUMNS
from pipelines.annotate.parts import ENGINE
from pipelines.inputs.shards import InputShard
from pipelines.recipes.annotate import AnnotateRecipe, EngineOptions
from pipelines.recipes.base import load_recipe
from schemas.errors import UsageError
from schemas.output_set.layout import DATA, QUARANTINE, committed, read_manifest, read_output
from schemas.output_set.manifest import OutputFile
from schemas.output_set.recipe_file import RECIPE_FILE, held_recipe
from schemas.records.failure import FAILURES
from schemas.records.fingerprint import EngineFingerprint
from schemas.storage.folder import Folder
from schemas.storage.parquet import read_table


@dataclass(frozen=True, slots=True)
class Reuse:
    """What a run takes from an earlier set."""

    folder: Folder
    kinds: list[EngineKind]
    fingerprints: dict[str, EngineFingerprint]


def set_recipe(folder: Folder) -> dict[str, Any]:
    """Returns what a set says that it was made by. Raises `UsageError` where that says how to run as well.

    No set of ours holds a `run`. One that did could name the cluster to join, which would run what it likes here.
    """
    values = held_recipe(folder)
    if "run" in values:
        raise UsageError(
            f"{folder.path(RECIPE_FILE)} holds `run`, which no set's own recipe does: take it out of there"
        )
    return values


def reused_kinds(
    held: Mapping[EngineKind, EngineOptions], asked: Mapping[EngineKind, EngineOptions]
) -> list[EngineKind]:
    """Returns the engines that are asked for and need not run again where a set holds annotations of these."""
    kinds = [kind for kind, spec in asked.items() if held.get(kind) == spec]
    if "tags" not in kinds and "boxes" in kinds:
        kinds.remove("boxes")  # they were looked for by other tags
    return kinds


def find_reuse(recipe: AnnotateRecipe, shards: list[InputShard]) -> Reuse | None:
    """The engines whose annotations can be taken over, None without `run.reuse`. Raises `UsageError` if none can."""
    if recipe.run.reuse is None:
        return None
    folder = Folder(recipe.run.reuse)
    held = load_recipe(AnnotateRecipe, None, set_recipe(folder))
    for name in ("decode", "filters", "chunk", *(["input"] if recipe.filters.repeated_images else [])):
        was, now = getattr(held, name), getattr(recipe, name)
        if was != now:
            raise UsageError(f"{folder.url}: {name} is {was!r} there and {now!r} here")
    kinds = reused_kinds(held.engines, recipe.engines)
    if not kinds:
        raise UsageError(f"{folder.url} holds nothing of the engines that are asked for")
    if len(kinds) == len(recipe.engines):
        raise UsageError(f"{folder.url} holds all that is asked for: there is nothing to add")
    manifests = committed(folder)
    if missing := [shard.name for shard in shards if shard.name not in manifests]:
        raise UsageError(f"{folder.url} is not finished: it lacks {len(missing)} shards ({', '.join(missing[:3])})")
    engines = next((manifest.fingerprints for manifest in manifests.values() if manifest.fingerprints), {})
    return Reuse(folder, kinds, {kind: engines[kind] for kind in kinds if kind in engines})


class ReusedShard:
    """The annotations of one shard by key."""

    def __init__(self, reuse: Reuse, name: str) -> None:
        self.reuse, self.name = reuse, name
        manifest = read_manifest(reuse.folder, f"{name}.json")
        files = {out.path: out for out in manifest.outputs}
        self.input_sha256 = manifest.inputs[0].sha256
        good = self._rows(f"{DATA}/{name}.parquet", files)
        rejected = self._rows(f"{QUARANTINE}/{name}.parquet", files)
        self.good = {row["key"]: row for row in good}
        self.bad = {row["key"]: row for row in rejected if row["stage"] != READ}  # reading gives its verdicts anew

    def _rows(self, path: str, files: dict[str, OutputFile]) -> list[dict[str, Any]]:
        if path not in files:
            return []
        data = read_output(self.reuse.folder, path, files[path].sha256, files[path].size)
        return list(read_table(io.BytesIO(data)).to_pylist())

    def check(self, sha256: str) -> None:
        """Raises `UsageError` when the shard is not the one that was annotated; known once it has been read."""
        if sha256 != self.input_sha256:
            raise self._changed()

    def _changed(self) -> UsageError:
        return UsageError(f"shard {self.name} has changed since {self.reuse.folder.url} was made from it")

    def with_annotations(self, samples: pa.Table) -> pa.Table:
        """A chunk's samples with the columns, the failures and the verdicts that they had."""
        names = ["key", "sha256", "caption", FAILURES.name, *(field.name for field in VERDICT_COLUMNS)]
        rows = samples.select(names).to_pylist()
        for row in rows:
            row |= dict.fromkeys(self.reuse.kinds)
            if row["reason"] is None:
                self._annotate(row)
        fields = [KINDS[kind].column for kind in self.reuse.kinds]
        found = pa.Table.from_pylist(rows, schema=pa.schema([FAILURES, *VERDICT_COLUMNS, *fields]))
        samples = samples.drop_columns([name for name in found.column_names if name in samples.column_names])
        for field in found.schema:
            samples = samples.append_column(field, found[field.name])
        metadata = {f"{ENGINE}{kind}": print_.model_dump_json() for kind, print_ in self.reuse.fingerprints.items()}
        return samples.replace_schema_metadata(metadata)

    def _annotate(self, row: dict[str, Any]) -> None:
        """What became of one readable sample. Raises `UsageError` when it is not the one that was annotated."""
        good, bad = self.good.get(row["key"]), self.bad.get(row["key"])
        if good is not None and (good["sha256"], good["caption"]) == (row["sha256"], row["caption"]):
            row |= {kind: good[kind] for kind in self.reuse.kinds}
            row[FAILURES.name] = [failure for failure in good[FAILURES.name] if failure["engine"] in self.reuse.kinds]
        elif bad is not None and bad["stage"] in self.reuse.kinds:  # it was the only engine
            row[FAILURES.name] = [{"engine": bad["stage"], "reason": bad["reason"], "detail": bad["detail"]}]
        elif bad is not None:
            row |= {field.name: bad[field.name] for field in VERDICT_COLUMNS}
        else:
            raise self._changed()
