"""Mixes sets of training shards into new shards, in the order that `curation.mixture` plans; or previews the mixture.

A unit of work is one output shard: positions k·N to (k+1)·N of the plan. The driver, which holds the plan, looks up
the samples at these positions. It sends their index rows with the unit, so that a worker needs neither the plan nor the
indexes.
"""

import contextlib
import functools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.mixture.image_tokens import ImageTokenRule
from curation.mixture.options import get_source_name
from curation.mixture.planner import PlannedMixture, build_mixture_plan
from curation.mixture.references import sum_image_bytes
from curation.mixture.sources import MEASURES, MappedIndex, SourceSet
from curation.mixture.summary import Summary, summarise_plan
from pipelines.mix.samples import count_by_source, read_mixed_samples
from pipelines.mix.shares import add_shares
from pipelines.output.job import Context, Job, OutputCommitter, run_job
from pipelines.output.references import list_tars
from pipelines.output.totals import Totals
from pipelines.output.training_shards import ShardWriter
from pipelines.recipes.mix import MixRecipe
from pipelines.terminal.progress import Progress
from schemas.errors import UsageError
from schemas.output_set.image_folders import describe_folders
from schemas.output_set.layout import PARTS, UNFINISHED
from schemas.output_set.manifest import InputFile, Manifest
from schemas.storage.folder import Folder


@dataclass(frozen=True, slots=True)
class MixUnit:
    """Identifies one output shard by its number, from 0."""

    number: int

    @property
    def name(self) -> str:
        """The name of the output; the keys of its samples begin with it."""
        return f"{self.number:08d}"


@dataclass(frozen=True, slots=True)
class PlannedShard:
    """Holds the index rows of an output shard's samples, in the order of the shard, as
    `read_mixed_samples` takes them.
    """

    name: str
    samples: pa.Table


class MixJob(Job[MixUnit]):
    """Mixes sets of training shards into one set."""

    title = "mix"

    def __init__(self, recipe: MixRecipe) -> None:
        self.recipe: MixRecipe = recipe
        self._planned: PlannedMixture
        self._indexes: Path

    def plan(self, context: Context) -> list[MixUnit]:
        """See `Job`."""
        recipe = self.recipe
        measures = () if recipe.unit == "samples" else (recipe.unit,)
        self._planned = build_mixture_plan(recipe, measures, track_reading)
        self._check_format(self._planned.sets)
        return [MixUnit(number) for number in range(-(-self._planned.plan.length // recipe.samples_per_shard))]

    def _check_format(self, sets: Sequence[SourceSet]) -> None:
        """Raises `UsageError` where images that would be copied without being asked for have to be."""
        referring = [source.name for source in sets if source.is_by_reference]
        if referring and self.recipe.format == "parquet" and not self.recipe.materialise:
            raise UsageError(
                f"format: a mixture in Parquet has its images in it, but source {referring[0]} is by reference: "
                "copy its images with --materialise, or leave out parquet"
            )

    def describe_change(self, unit: MixUnit | None, manifest: Manifest) -> str:
        """See `Job`."""
        revisions = self._planned.revisions
        if manifest.inputs == revisions:
            return ""
        names = {revision.path: source.name for source in self._planned.sets for revision in source.revisions}
        changed = [revision.path for revision in revisions if revision not in manifest.inputs]
        which = ", ".join(f"{names[path]}: {path}" for path in changed) or "a set was removed"
        return f"sources ({which}) have"

    def make_task(self, context: Context) -> Callable[[PlannedShard], Manifest]:
        """See `Job`."""
        planned = self._planned
        is_captions = not any(numbers.has_documents for numbers in planned.measures)
        by_reference = not self.recipe.materialise and any(source.is_by_reference for source in planned.sets)
        writer = ShardWriter(context.output, self.recipe.format, is_captions, planned.tokenizer, by_reference)
        sha256, image_tokens = self.recipe.compute_sha256(), self.recipe.image_tokens
        return functools.partial(write_mixed_shard, writer, sha256, planned.revisions, image_tokens)

    def load(self, todo: list[MixUnit]) -> "PlannedShards":
        """See `Job`."""
        return PlannedShards(self._planned, self.recipe, todo, self._indexes)

    def carry_out(self, context: Context, todo: list[MixUnit], committer: OutputCommitter) -> None:
        """See `Job`. Keeps the sources' indexes in files on this machine while the work runs."""
        with make_index_folder(context.output) as self._indexes:
            super().carry_out(context, todo, committer)


def mix(recipe: MixRecipe, output: str) -> Totals:
    """Writes the shards of the mixture that are not committed yet. Returns the totals of the set."""
    return run_job(MixJob(recipe), output)


def preview_mixture(recipe: MixRecipe) -> dict[str, Any]:
    """Returns the recipe and the figures of the planned mixture, as plain data. Writes nothing."""
    measures = MEASURES if recipe.unit in ("samples", *MEASURES) else (*MEASURES, recipe.unit)
    planned = build_mixture_plan(recipe, measures, track_reading)
    return {"recipe": recipe.resolve()} | describe_plan(summarise_plan(planned.plan))


def describe_plan(summary: Summary) -> dict[str, Any]:
    """Converts the summary of a plan into plain data, with figures for each source."""
    rows = [
        {
            "source": get_source_name(source.name),
            "group": source.name.rpartition(".")[0],
            "asked": float(source.requested_share),
            "used": float(source.effective_share),
            "counts": {"samples": source.samples} | source.totals,
            "available": source.length,
            "epochs": float(source.epochs),
            "runs_out_at": source.runs_out_at,
        }
        for source in summary.sources
    ]
    return add_shares(rows, summary.unit)


def track_reading(sets: Sequence[SourceSet]) -> Iterator[SourceSet]:
    """Yields the sets, and shows the progress of reading their indexes."""
    with Progress("read indexes", len(sets), "samples") as progress:
        samples = 0
        for source in sets:
            yield source
            samples += source.length
            progress.advance(1)
            progress.show(samples)


class PlannedShards(Sequence[PlannedShard]):
    """Builds a `PlannedShard` for each unit on access, as a sequence.

    Writes the indexes of all sources into the local `folder`.
    """

    def __init__(self, planned: PlannedMixture, recipe: MixRecipe, units: Sequence[MixUnit], folder: Path) -> None:
        self.planned, self._samples_per_shard, self._units = planned, recipe.samples_per_shard, units
        self._is_materialised = recipe.materialise
        self._indexes = [MappedIndex(source, folder) for source in planned.sets]

    def __len__(self) -> int:
        return len(self._units)

    def __getitem__(self, at: Any) -> Any:
        return self._plan_shard(self._units[at])

    def __iter__(self) -> Iterator[PlannedShard]:
        # Sequence.__iter__ would treat an IndexError from _plan_shard as the end
        return map(self._plan_shard, self._units)

    def _plan_shard(self, unit: MixUnit) -> PlannedShard:
        start = unit.number * self._samples_per_shard
        stop = min(start + self._samples_per_shard, self.planned.plan.length)
        sources, samples = self.planned.plan.take(start, stop)
        parts, order = [], []
        for source in np.unique(sources):
            places = np.flatnonzero(sources == source)
            parts.append(self._read_index_rows(int(source), samples[places]))
            order.append(places)
        back = np.argsort(np.concatenate(order))
        rows = pa.concat_tables(parts, promote_options="default")  # not all sources have references
        return PlannedShard(unit.name, rows.combine_chunks().take(pa.array(back)))

    def _read_index_rows(self, source: int, samples: NDArray[np.int64]) -> pa.Table:
        """Returns the samples' index rows, plus the shard's `path`, the source's `name` and the approximate `bytes`."""
        found, drawn_from = self._indexes[source].take(samples), self.planned.sets[source]
        shards = found["shard"].combine_chunks()
        means = pa.array([shard.data.size // max(1, shard.data.rows) for shard in drawn_from.shards], pa.int64())
        sizes = pc.coalesce(found["size"], means.take(shards))
        if self._is_materialised and drawn_from.is_by_reference:
            sizes = pc.add(sizes, sum_image_bytes(found))
        return (
            found.drop_columns(["shard"])
            .append_column("path", pa.array([shard.path for shard in drawn_from.shards]).take(shards))
            .append_column("name", pa.array([drawn_from.name] * len(samples), pa.string()))
            .append_column("bytes", sizes)
        )


def write_mixed_shard(
    writer: ShardWriter,
    recipe_sha256: str,
    revisions: list[InputFile],
    image_tokens: ImageTokenRule | None,
    unit: PlannedShard,
) -> Manifest:
    """Writes one shard and its index. They take effect once the caller commits the manifest."""
    written = writer.write(unit.name, read_mixed_samples(writer, unit.name, unit.samples))
    return Manifest.build(
        unit.name,
        recipe_sha256,
        inputs=revisions,
        rows_in=unit.samples.num_rows,
        data=written.data,
        others=[written.index],
        counts=count_by_source(written.rows, image_tokens),
        fingerprints={} if writer.tokenizer is None else {"tokenizer": writer.tokenizer},
        image_folders=describe_folders(list_tars(written.rows), writer.output),
    )


@contextlib.contextmanager
def make_index_folder(output: Folder) -> Iterator[Path]:
    """Yields a temporary local folder, inside the output if that is local.

    First clears what a killed run left in parts/.
    """
    output.clear(PARTS, keep=UNFINISHED.removeprefix(f"{PARTS}/"))
    if not output.is_local:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
        return
    place = output / f"{PARTS}/indexes"
    place.make_folder()
    try:
        yield place.get_local_path("")
    finally:
        place.clear("")
