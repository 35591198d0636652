"""Reuses the annotations of an earlier set of the same images, to which a recipe adds engines.

The new set is a separate one, with the bytes that all engines in one pass would have written; the old set is only read.
Two engines count as the same if their recipes are equal: the weights or words behind a path are not compared.
"""

import io
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curation.engines.stages import StageName, get_stage_column
from pipelines.annotate.captions.columns import split_captions
from pipelines.annotate.captions.prompts import list_inputs
from pipelines.annotate.chunks import READ_STAGE, VERDICT_COLUMNS
from pipelines.annotate.parts import ENGINE_PREFIX
from pipelines.engines.loader import add_implied_settings
from pipelines.inputs.shards import InputShard
from pipelines.recipes.annotate import AnnotateRecipe, EngineOptions, Engines
from pipelines.recipes.base import load_recipe
from pipelines.recipes.rows import ChosenRows
from schemas.errors import UsageError, to_one_line
from schemas.output_set.layout import DATA, QUARANTINE, read_manifest, read_manifests, read_output
from schemas.output_set.manifest import OutputFile
from schemas.output_set.recipe_file import RECIPE_FILE, read_stored_recipe
from schemas.records.failure import FAILURES_COLUMN
from schemas.records.fingerprint import EngineFingerprint
from schemas.storage.folder import Folder
from schemas.storage.parquet import read_table
from schemas.storage.row_objects import iterate_rows


@dataclass(frozen=True, slots=True)
class Reuse:
    """Holds what a run takes from an earlier set."""

    folder: Folder
    stages: list[StageName]
    fingerprints: dict[str, EngineFingerprint]


def read_set_recipe(folder: Folder) -> dict[str, Any]:
    """Returns the stored recipe of a set. Raises `UsageError` where that has a `run` section.

    Shardloom never stores `run` in a set. A set with one could name an external cluster, which would run its code here.
    """
    values = read_stored_recipe(folder)
    if "run" in values:
        raise UsageError(
            f"{folder.resolve_path(RECIPE_FILE)} has a `run`, which the recipe of a set never has: remove it there"
        )
    return values


def find_reused_stages(stored: Engines, requested: Engines) -> list[StageName]:
    """Returns the requested engines that need not run again, because the set holds their annotations.

    An engine whose input would be another one runs again.
    """
    held = stored.list_stages()
    reused: list[StageName] = []
    redone: set[StageName] = set()
    for stage, options in requested.list_stages().items():
        is_same = stage in held and _describe_engine(stage, held[stage]) == _describe_engine(stage, options)
        if is_same and not (redone and redone.intersection(list_inputs(requested, stage))):
            reused.append(stage)
        elif stage in held:  # what is new cannot be the input of what is there
            redone.add(stage)
    return reused


def _describe_engine(stage: StageName, options: EngineOptions) -> dict[str, Any]:
    """Returns what two engines must have in common to give the same: of a prompt, the text and not its path."""
    return add_implied_settings(stage, options).model_dump(exclude={"prompt"})


def find_reuse(recipe: AnnotateRecipe, shards: list[InputShard]) -> Reuse | None:
    """Returns the engines whose annotations can be reused; None without `run.reuse`.

    Raises `UsageError` where no annotation or every one can be reused, where the settings differ, or where the earlier
    set is not finished.
    """
    if recipe.run.reuse is None:
        return None
    folder = Folder(recipe.run.reuse)
    stored = load_recipe(AnnotateRecipe, None, read_set_recipe(folder))
    for name in (
        "decode",
        "filters",
        "chunk",
        *ChosenRows.model_fields,
        *(["input"] if recipe.filters.repeated_images else []),
    ):
        was, now = getattr(stored, name), getattr(recipe, name)
        if was != now:
            raise UsageError(f"{folder.url}: {name} is {was!r} there and {now!r} here")
    stages = find_reused_stages(stored.engines, recipe.engines)
    if not stages:
        raise UsageError(f"{folder.url} holds no annotations of the engines in this recipe")
    if len(stages) == len(recipe.stages):
        raise UsageError(f"{folder.url} already holds all annotations of this recipe: there is nothing to add")
    manifests = read_manifests(folder)
    if missing := [shard.name for shard in shards if shard.name not in manifests]:
        raise UsageError(f"{folder.url} is not finished: {len(missing)} shards are missing ({', '.join(missing[:3])})")
    engines = next((manifest.fingerprints for manifest in manifests.values() if manifest.fingerprints), {})
    return Reuse(folder, stages, {stage: engines[stage] for stage in stages if stage in engines})


class ReusedShard:
    """Holds the annotations of one shard, by key."""

    def __init__(self, reuse: Reuse, name: str) -> None:
        self.reuse, self.name = reuse, name
        manifest = read_manifest(reuse.folder, f"{name}.json")
        files = {out.path: out for out in manifest.outputs}
        self.input_sha256 = manifest.inputs[0].sha256
        good = self._read_rows(f"{DATA}/{name}.parquet", files)
        rejected = self._read_rows(f"{QUARANTINE}/{name}.parquet", files)
        self.good = {row["key"]: row for row in good}
        self.bad = {
            row["key"]: row for row in rejected if row["stage"] != READ_STAGE
        }  # the reader gives its verdicts again

    def _read_rows(self, path: str, files: dict[str, OutputFile]) -> list[dict[str, Any]]:
        if path not in files:
            return []
        data = read_output(self.reuse.folder, path, files[path].sha256, files[path].size)
        try:
            return list(iterate_rows(read_table(io.BytesIO(data))))
        except ValueError as error:
            raise UsageError(f"{self.reuse.folder.resolve_path(path)}: {to_one_line(error)}") from None

    def check_sha256(self, sha256: str) -> None:
        """Raises `UsageError` when `sha256`, of the shard just read, is not that of the annotated shard."""
        if sha256 != self.input_sha256:
            raise self._make_changed_error()

    def _make_changed_error(self) -> UsageError:
        return UsageError(f"shard {self.name} has changed since {self.reuse.folder.url} was made from it")

    def with_annotations(self, samples: pa.Table) -> pa.Table:
        """Adds the reused columns, failures and verdicts to a chunk's samples."""
        names = ["key", "sha256", "caption", FAILURES_COLUMN.name, *(field.name for field in VERDICT_COLUMNS)]
        rows = samples.select(names).to_pylist()
        for row in rows:
            row |= dict.fromkeys(self.reuse.stages)
            if row["reason"] is None:
                self._annotate(row)
        fields = [get_stage_column(stage) for stage in self.reuse.stages]
        found = pa.Table.from_pylist(rows, schema=pa.schema([FAILURES_COLUMN, *VERDICT_COLUMNS, *fields]))
        samples = samples.drop_columns([name for name in found.column_names if name in samples.column_names])
        for field in found.schema:
            samples = samples.append_column(field, found[field.name])
        metadata = {
            f"{ENGINE_PREFIX}{stage}": fingerprint.model_dump_json()
            for stage, fingerprint in self.reuse.fingerprints.items()
        }
        return samples.replace_schema_metadata(metadata)

    def _annotate(self, row: dict[str, Any]) -> None:
        """Adds what the earlier set holds of one readable sample. Raises `UsageError` when that is another sample."""
        good, bad = self.good.get(row["key"]), self.bad.get(row["key"])
        if good is not None and (good["sha256"], good["caption"]) == (row["sha256"], row["caption"]):
            row |= split_captions(good, self.reuse.stages)
            row[FAILURES_COLUMN.name] = [
                failure for failure in good[FAILURES_COLUMN.name] if failure["engine"] in self.reuse.stages
            ]
        elif bad is not None and bad["stage"] in self.reuse.stages:  # the earlier set's only engine failed on it
            row[FAILURES_COLUMN.name] = [{"engine": bad["stage"], "reason": bad["reason"], "detail": bad["detail"]}]
        elif bad is not None:
            row |= {field.name: bad[field.name] for field in VERDICT_COLUMNS}
        else:
            raise self._make_changed_error()
