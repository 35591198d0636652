"""Copies the images of a set by reference into a set of its own: the one that would have been made without references.

A unit of work is one output of the set. Its data and index are those that `shard`, or `mix --materialise`, writes from
the same inputs, byte for byte; its other files are copied. So are the counts and inputs in its manifest, and the recipe
is the set's own without `by_reference`. So it is the set that `shard` would have made, and `shard` can finish it.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from curation.mixture.reader import ShardSample, read_samples
from curation.mixture.references import sum_image_bytes
from curation.mixture.sources import SourceShard, open_set, read_index
from pipelines.output.job import Context, Job, run_job
from pipelines.output.totals import Totals
from pipelines.output.training_shards import Sample, ShardWriter
from pipelines.output.writer import write_output
from pipelines.recipes.base import Recipe, RunOptions
from pipelines.recipes.mix import MixRecipe
from pipelines.recipes.shard import ShardRecipe
from schemas.errors import UsageError
from schemas.output_set.image_folders import parse_places
from schemas.output_set.layout import read_manifests, read_output
from schemas.output_set.manifest import Manifest, OutputFile
from schemas.output_set.recipe_file import RECIPE_FILE, read_stored_recipe, validate_options
from schemas.output_set.shard_index import INDEX_SCHEMA, get_tokenizer
from schemas.storage.folder import Folder

_MODELS: dict[str, type[Recipe]] = {model.kind: model for model in (ShardRecipe, MixRecipe)}


@dataclass(frozen=True, slots=True)
class CopiedUnit:
    """Describes one output: the shard of the set by reference, and the manifest of the copy without its outputs."""

    shard: SourceShard
    others: list[OutputFile]  # files of the set's output that are copied as they are
    manifest: Manifest

    @property
    def name(self) -> str:
        """The name of the output."""
        return self.manifest.name


class MaterialiseJob(Job[CopiedUnit]):
    """Copies the images of a set by reference into a set of its own."""

    title = "materialise"

    def __init__(self, url: str, run: RunOptions, images: Sequence[str]) -> None:
        """Takes the set's folder, and `images` as `parse_places` takes them. Raises `UsageError` for any other set."""
        folder = Folder(url)
        stored = read_stored_recipe(folder)
        model = _MODELS.get(str(stored.pop("kind", None)))
        manifests = read_manifests(folder)
        self._recorded = [one for manifest in manifests.values() for one in manifest.image_folders]
        if model is None or not self._recorded:
            raise UsageError(f"{url} is not a set by reference: its images are in it, if it has any")
        form = {"materialise": True} if model is MixRecipe else {"by_reference": False}
        self.recipe = validate_options(model, stored | form | {"run": run}, folder.resolve_path(RECIPE_FILE))
        self._url, self._places = url, parse_places(images, self._recorded)

    def plan(self, context: Context) -> list[CopiedUnit]:
        """See `Job`."""
        shards, manifests = open_set(self._url, self._places)
        recipe_sha256, units = self.recipe.compute_sha256(), []
        for shard, manifest in zip(shards, manifests.values(), strict=True):
            others = [out for out in manifest.outputs if out not in (shard.data, shard.index)]
            copy = manifest.model_copy(update={"recipe_sha256": recipe_sha256, "image_folders": [], "outputs": []})
            units.append(CopiedUnit(shard, others, copy))
        return units

    def describe_change(self, unit: CopiedUnit | None, manifest: Manifest) -> str:
        """See `Job`."""
        found = manifest.model_copy(update={"outputs": []})
        return "" if unit is not None and found == unit.manifest else f"{self._url} has"

    def make_task(self, context: Context) -> Callable[[CopiedUnit], Manifest]:
        """See `Job`."""
        return functools.partial(copy_shard, context.output)


def materialise(url: str, run: RunOptions, images: Sequence[str], output: str) -> Totals:
    """Writes the outputs that are not committed yet of a copy of the set by reference. Returns the totals of the copy.

    `images` has the present folders of image tars that were moved, as OLD=NEW, or NEW if there is one.
    """
    return run_job(MaterialiseJob(url, run, images), output)


def copy_shard(output: Folder, unit: CopiedUnit) -> Manifest:
    """Writes one shard with its images, and the other files of the output. The caller commits the manifest."""
    index = read_index(unit.shard, locating=True)
    writer = ShardWriter(output, "webdataset", True, get_tokenizer(index.schema))
    written = writer.write(unit.name, map(_make_sample, read_samples(_add_places(index, unit.shard))))
    outputs = [written.data, written.index]
    for other in unit.others:
        data = read_output(unit.shard.folder, other.path, other.sha256, other.size)
        outputs.append(write_output(output, other.path, data, other.rows))
    return unit.manifest.model_copy(update={"outputs": outputs})


def _add_places(index: pa.Table, shard: SourceShard) -> pa.Table:
    """Returns the rows of an index as `read_samples` takes them."""
    return (
        index.append_column("path", pa.array([shard.path] * index.num_rows, pa.string()))
        .append_column("row", pa.array(range(index.num_rows), pa.int64()))
        .append_column("bytes", pc.add(index["size"], sum_image_bytes(index)))
    )


def _make_sample(found: ShardSample) -> Sample:
    row = {name: found.row[name] for name in INDEX_SCHEMA.names}
    return Sample(found.row["key"], found.members, row, dict)
