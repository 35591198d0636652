"""Mixes sets of training shards into new ones, in the order that `curation.mixture` plans; or tells what would come.

A unit of work is one output shard: positions k·N to (k+1)·N of the plan. Which samples stand there is found out where
the plan is, and the rows of the index that tell where they lie go with the unit, so that a worker needs nothing else.
"""

import contextlib
import functools
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.mixture.options import source_name
from curation.mixture.planned import Follow, Planned, plan_of
from curation.mixture.sources import MEASURES, Located, SourceSet
from curation.mixture.summary import Summary, summarise
from pipelines.cluster.map_units import map_units
from pipelines.mix.shares import with_shares
from pipelines.mix.writer import MixWriter
from pipelines.output.output_set import begun, commit
from pipelines.output.totals import RunClock, Totals, totals
from pipelines.recipes.mix import MixRecipe
from pipelines.terminal.progress import Progress
from schemas.errors import UsageError
from schemas.output_set.layout import DATA, PARTS, UNFINISHED, committed
from schemas.output_set.manifest import InputFile, Manifest
from schemas.storage.folder import Folder


@dataclass(frozen=True, slots=True)
class Unit:
    """One output shard: the index rows of its samples, in its order, as `MixWriter` takes them."""

    name: str
    samples: pa.Table


def mix(recipe: MixRecipe, output: str, quiet: bool = False) -> Totals:
    """Writes the shards of the mixture that are not committed yet."""
    folder = Folder(output)
    planned = plan_of(recipe, () if recipe.unit == "samples" else (recipe.unit,), shown(quiet))
    with begun(folder, recipe):
        done = committed(folder)
        check_unchanged(folder, planned, done)
        shards = range(-(-planned.plan.length // recipe.samples_per_shard))
        todo = [number for number in shards if unit_name(number) not in done]
        if todo:
            clock = RunClock()
            with scratch(folder) as place:
                write_shards(recipe, folder, Units(planned, recipe.samples_per_shard, todo, place), quiet)
            clock.stop(folder)
        folder.clear(PARTS)  # also of a run that was killed after its last commit
        return totals(folder)


def write_shards(recipe: MixRecipe, output: Folder, units: "Units", quiet: bool) -> None:
    """Writes and commits these units."""
    planned = units.planned
    is_captions = not any(numbers.has_documents for numbers in planned.numbers)
    writer = MixWriter(output, recipe.format, is_captions, planned.tokenizer)
    work = functools.partial(write_unit, writer, recipe.sha256(), planned.revisions)
    with Progress("mix", len(units), "samples", quiet) as progress:
        samples = 0
        for manifest in map_units(work, units, recipe.run):
            commit(output, manifest)
            samples += manifest.rows_out
            progress.advance(1)
            progress.show(samples)


def preview(recipe: MixRecipe, quiet: bool = False) -> dict[str, Any]:
    """What would come of the mixture, as plain data. Writes nothing."""
    planned = plan_of(recipe, MEASURES, shown(quiet))
    return {"recipe": recipe.resolved()} | told(summarise(planned.plan))


def told(summary: Summary) -> dict[str, Any]:
    """Figures of a plan and of each of its sources."""
    rows = [
        {
            "source": source_name(source.name),
            "group": source.name.rpartition(".")[0],
            "asked": float(source.asked),
            "used": float(source.used),
            "counts": {"samples": source.samples} | source.totals,
            "available": source.length,
            "epochs": float(source.epochs),
            "runs_out_at": source.runs_out,
        }
        for source in summary.sources
    ]
    return with_shares(rows, summary.unit)


def shown(quiet: bool) -> Follow:
    """Shows how far the indexes are read."""

    def follow(sets: Sequence[SourceSet]) -> Iterator[SourceSet]:
        with Progress("read indexes", len(sets), "samples", quiet) as progress:
            samples = 0
            for source in sets:
                yield source
                samples += source.length
                progress.advance(1)
                progress.show(samples)

    return follow


def check_unchanged(output: Folder, planned: Planned, done: dict[str, Manifest]) -> None:
    """Refuses to go on over sources that have changed: what is committed would overlap with what is to come."""
    names = {revision.path: source.name for source in planned.sets for revision in source.revisions}
    for name, manifest in done.items():
        if manifest.inputs == planned.revisions:
            continue
        changed = [revision.path for revision in planned.revisions if revision not in manifest.inputs]
        which = ", ".join(f"{names[path]} ({path})" for path in changed) or "some"
        raise UsageError(
            f"sources have changed since {output.path(DATA)}/{name} was committed: {which}: take a new output folder"
        )


class Units(Sequence[Unit]):
    """The units of these numbers, each made when it is asked for. Lays out the indexes in the folder `place`."""

    def __init__(self, planned: Planned, samples: int, numbers: Sequence[int], place: Path) -> None:
        self.planned, self._samples, self._numbers = planned, samples, numbers
        self._located = [Located(source, place) for source in planned.sets]

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, at: Any) -> Any:
        return self._unit(self._numbers[at])

    def __iter__(self) -> Iterator[Unit]:
        return map(self._unit, self._numbers)  # that of `Sequence` would take any IndexError for the end

    def _unit(self, number: int) -> Unit:
        start = number * self._samples
        stop = min(start + self._samples, self.planned.plan.length)
        sources, samples = self.planned.plan.take(start, stop)
        parts, order = [], []
        for source in np.unique(sources):
            places = np.flatnonzero(sources == source)
            parts.append(self._rows(int(source), samples[places]))
            order.append(places)
        back = np.argsort(np.concatenate(order))
        return Unit(unit_name(number), pa.concat_tables(parts).combine_chunks().take(pa.array(back)))

    def _rows(self, source: int, samples: NDArray[np.int64]) -> pa.Table:
        """The samples' rows of the index, and what a worker needs beside them."""
        found, drawn_from = self._located[source].take(samples), self.planned.sets[source]
        shards = found["shard"].combine_chunks()
        means = pa.array([shard.data.size // max(1, shard.data.rows) for shard in drawn_from.shards], pa.int64())
        return (
            found.drop_columns(["shard"])
            .append_column("path", pa.array([shard.path for shard in drawn_from.shards]).take(shards))
            .append_column("name", pa.array([drawn_from.name] * len(samples), pa.string()))
            .append_column("bytes", pc.coalesce(found["size"], means.take(shards)))
        )


def unit_name(number: int) -> str:
    """The name of a unit's output."""
    return f"{number:08d}"


def write_unit(writer: MixWriter, recipe_sha256: str, revisions: list[InputFile], unit: Unit) -> Manifest:
    """Writes one shard and its index; they count once the manifest is written."""
    written = writer.write(unit.name, unit.samples)
    return Manifest(
        name=unit.name,
        recipe_sha256=recipe_sha256,
        inputs=revisions,
        rows_in=unit.samples.num_rows,
        rows_out=written.data.rows,
        reasons={},
        counts=written.counts,
        outputs=[written.data, written.index],
        engines={} if writer.tokenizer is None else {"tokenizer": writer.tokenizer},
    )


@contextlib.contextmanager
def scratch(output: Folder) -> Iterator[Path]:
    """A folder on this machine for as long as the run lasts: in the output, where that is local.

    The output is marked as not finished, until `mix` is through: nothing may take what there is for the whole.
    """
    output.write(UNFINISHED, b"")
    output.clear(PARTS, but=UNFINISHED.removeprefix(f"{PARTS}/"))  # of a run that was killed
    if not output.is_local:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
        return
    place = output / f"{PARTS}/indexes"
    place.make()
    try:
        yield place.local_path("")
    finally:
        place.clear("")
