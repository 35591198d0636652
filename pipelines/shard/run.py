"""Joins image shards with a caption set into training shards of equal length, each with its index."""

import functools
from collections import Counter
from collections.abc import Callable, Iterator

from curation.tokens import TokenCounter, load_token_counter
from pipelines.inputs.shards import InputShard, choose_samples, list_labelled_shards
from pipelines.output.job import Context, Job, run_job
from pipelines.output.references import list_tars, refer_to_image
from pipelines.output.totals import Totals
from pipelines.output.training_shards import Sample, ShardWriter, make_sample, sum_counts
from pipelines.output.writer import write_quarantine
from pipelines.recipes.shard import ShardRecipe
from pipelines.shard.caption_set import CaptionSet
from pipelines.shard.census import take_census
from pipelines.shard.join import JoinedSample
from pipelines.shard.plan import ShardUnit, cut_units, has_changed
from pipelines.shard.training_sample import make_captioned_image, open_condition
from schemas.output_set.image_folders import describe_folders, make_tar_path
from schemas.output_set.manifest import HIDDEN_FILES, UNREADABLE_METADATA, Manifest
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.quarantine import QuarantinedRow
from schemas.storage.folder import Folder


class ShardJob(Job[ShardUnit]):
    """Joins image shards and captions into training shards."""

    title = "shard"

    def __init__(self, recipe: ShardRecipe) -> None:
        self._captions = CaptionSet(recipe.captions)
        self.recipe: ShardRecipe = self._captions.resolve_recipe(recipe)

    def plan(self, context: Context) -> list[ShardUnit]:
        """See `Job`."""
        recipe = self.recipe
        condition = open_condition(recipe)
        shards = list_labelled_shards(recipe.images, ".tar")
        for one in shards if recipe.by_reference else ():
            make_tar_path(one.path)  # refuses it before any tar is read
        inputs = choose_samples(shards, recipe)
        self._counter = load_token_counter(recipe.tokenizer, recipe.run.allow_download) if recipe.tokenizer else None
        with context.show_progress("join", len(inputs), "samples") as progress:
            censuses = []
            for census in context.runner.map(
                functools.partial(take_census, self._captions, condition=condition), inputs
            ):
                censuses.append(census)
                progress.advance(1)
        order = {shard.path: position for position, shard in enumerate(inputs)}
        return cut_units(sorted(censuses, key=lambda census: order[census.shard.path]), recipe.samples_per_shard)

    def describe_change(self, unit: ShardUnit | None, manifest: Manifest) -> str:
        """See `Job`."""
        if has_changed(unit, manifest, self._captions):
            return "the images or captions have"
        return "" if manifest.fingerprints == get_fingerprints(self._counter) else "the tokenizer has"

    def make_task(self, context: Context) -> Callable[[ShardUnit], Manifest]:
        """See `Job`."""
        return functools.partial(write_joined_shard, self.recipe, context.output, self._captions, self._counter)


def shard(recipe: ShardRecipe, output: str) -> Totals:
    """Writes the training shards that are not committed yet. Returns the totals of the set."""
    return run_job(ShardJob(recipe), output)


def get_fingerprints(counter: TokenCounter | None) -> dict[str, EngineFingerprint]:
    """Returns the fingerprints for the manifests: that of the tokenizer, if any."""
    return {} if counter is None else {"tokenizer": counter.fingerprint}


def write_joined_shard(
    recipe: ShardRecipe, output: Folder, captions: CaptionSet, counter: TokenCounter | None, unit: ShardUnit
) -> Manifest:
    """Writes one shard, its index and its quarantine. They take effect once the caller commits the manifest."""
    source, tokenizer = recipe.source, None if counter is None else counter.fingerprint
    assert source is not None  # `CaptionSet.resolve_recipe` has filled it in
    left_out: list[QuarantinedRow] = []
    found: Counter[str] = Counter()

    def make_samples() -> Iterator[Sample]:
        for row, (shard, joined) in enumerate(read_joined_samples(captions, unit, left_out, found)):
            record = make_captioned_image(recipe, f"{unit.name}{row:06d}", shard.source, joined)
            sample = make_sample(record, source, counter)
            if recipe.by_reference:
                sample = refer_to_image(sample, make_tar_path(shard.path), joined.matched.image.image.offset)
            yield sample

    writer = ShardWriter(output, recipe.format, True, tokenizer, recipe.by_reference)
    written = writer.write(unit.name, make_samples())
    return Manifest.build(
        unit.name,
        recipe.compute_sha256(),
        inputs=[captions.revision, *unit.inputs],
        rows_in=unit.rows,
        data=written.data,
        others=[written.index, write_quarantine(output, unit.name, left_out)],
        reasons=[row.reason for row in left_out],
        counts=sum_counts(written.rows, with_tokens=counter is not None)
        | ({HIDDEN_FILES: unit.hidden_files} if unit.hidden_files else {})
        | dict(sorted(found.items())),
        damage=unit.damage,
        fingerprints=get_fingerprints(counter),
        image_folders=describe_folders(list_tars(written.rows), output),
        left_out={} if recipe.row_option is None else {recipe.row_option: unit.left_out},
    )


def read_joined_samples(
    captions: CaptionSet, unit: ShardUnit, left_out: list[QuarantinedRow], found: Counter[str]
) -> Iterator[tuple[InputShard, JoinedSample]]:
    """Yields a unit's samples with captions, each with its input shard.

    Appends the other samples to `left_out`. Counts in `found` the captions that were found by the image, with other
    ids, or ambiguously (`curation.captions.lookup.Match.counts`), and the samples whose .json is not an object.
    """
    for sample_range in unit.sample_ranges:
        for sample in sample_range.census.read_samples(captions, sample_range.start, sample_range.stop):
            if isinstance(sample, JoinedSample):
                found.update(sample.matched.found.counts)
                if sample.matched.image.has_unreadable_metadata:
                    found[UNREADABLE_METADATA] += 1
                yield sample_range.shard, sample
            else:
                left_out.append(QuarantinedRow.from_rejected(sample.key, sample.uid, "shard", sample.fault))
