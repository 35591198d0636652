"""Joins image shards with a caption set into training shards of equal length, each with its index."""

import functools
from collections import Counter
from collections.abc import Callable, Iterator

from curation.documents.filters import stored_extension
from curation.tokens import TokenCounter, token_counter
from pipelines.inputs.shards import shards_of_any_folder
from pipelines.output.job import Context, Job, run_job
from pipelines.output.output_set import put_quarantine
from pipelines.output.totals import Totals
from pipelines.output.training_shards import ShardWriter, counts_of, sample_of
from pipelines.recipes.shard import ShardRecipe
from pipelines.shard.caption_set import CaptionSet
from pipelines.shard.census import take_census
from pipelines.shard.join import Joined
from pipelines.shard.plan import Unit, changed, cut_units
from schemas.output_set.manifest import HIDDEN_FILES, Manifest
from schemas.records.caption import Caption
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.quarantine import QuarantinedRow
from schemas.records.training_shard import CaptionedImage
from schemas.records.training_text import training_text
from schemas.storage.folder import Folder


class ShardJob(Job[Unit]):
    """Joins image shards and captions into training shards."""

    title = "shard"

    def __init__(self, recipe: ShardRecipe) -> None:
        self._captions = CaptionSet(recipe.captions)
        self.recipe: ShardRecipe = self._captions.resolved(recipe)

    def plan(self, context: Context) -> list[Unit]:
        """See `Job`."""
        recipe = self.recipe
        inputs = shards_of_any_folder(recipe.images, ".tar")
        self._counter = token_counter(recipe.tokenizer, recipe.run.allow_download) if recipe.tokenizer else None
        with context.progress("join", len(inputs), "samples") as progress:
            censuses = []
            for census in context.runner.map(functools.partial(take_census, self._captions), inputs):
                censuses.append(census)
                progress.advance(1)
        order = {shard.path: position for position, shard in enumerate(inputs)}
        return cut_units(sorted(censuses, key=lambda census: order[census.shard.path]), recipe.samples_per_shard)

    def changed(self, unit: Unit | None, manifest: Manifest) -> str:
        """See `Job`."""
        if changed(unit, manifest, self._captions):
            return "the images or captions have"
        return "" if manifest.fingerprints == fingerprints_of(self._counter) else "the tokenizer has"

    def work(self, context: Context) -> Callable[[Unit], Manifest]:
        """See `Job`."""
        return functools.partial(write_unit, self.recipe, context.output, self._captions, self._counter)


def shard(recipe: ShardRecipe, output: str, quiet: bool = False) -> Totals:
    """Writes the training shards that are not committed yet. Returns the totals of the set."""
    return run_job(ShardJob(recipe), output, quiet)


def fingerprints_of(counter: TokenCounter | None) -> dict[str, EngineFingerprint]:
    """Returns the fingerprints for the manifests: that of the tokenizer, if any."""
    return {} if counter is None else {"tokenizer": counter.fingerprint}


def write_unit(
    recipe: ShardRecipe, output: Folder, captions: CaptionSet, counter: TokenCounter | None, unit: Unit
) -> Manifest:
    """Writes one shard, its index and its quarantine. They count once the caller has written the manifest."""
    source, tokenizer = recipe.source, None if counter is None else counter.fingerprint
    assert source is not None  # `CaptionSet.resolved` has filled it in
    left_out: list[QuarantinedRow] = []
    found: Counter[str] = Counter()
    records = (
        captioned_image(recipe, f"{unit.name}{row:06d}", shard, joined)
        for row, (shard, joined) in enumerate(joined_samples(captions, unit, left_out, found))
    )
    writer = ShardWriter(output, recipe.format, is_captions=True, tokenizer=tokenizer)
    written = writer.write(unit.name, (sample_of(record, source, counter) for record in records))
    return Manifest.build(
        unit.name,
        recipe.sha256(),
        inputs=[captions.revision, *unit.inputs],
        rows_in=unit.rows,
        data=written.data,
        others=[written.index, put_quarantine(output, unit.name, left_out)],
        reasons=[row.reason for row in left_out],
        counts=counts_of(written.rows, with_tokens=counter is not None)
        | ({HIDDEN_FILES: unit.hidden} if unit.hidden else {})
        | dict(sorted(found.items())),
        damage=unit.damage,
        fingerprints=fingerprints_of(counter),
    )


def joined_samples(
    captions: CaptionSet, unit: Unit, left_out: list[QuarantinedRow], found: Counter[str]
) -> Iterator[tuple[str, Joined]]:
    """Yields a unit's samples with captions, each with the name of its input shard.

    Appends the other samples to `left_out`. Counts in `found` the captions that were found by the image, with other
    ids, or ambiguously (`curation.captions.lookup.Found.counts`).
    """
    for stretch in unit.stretches:
        for sample in stretch.census.samples(captions, stretch.start, stretch.stop):
            if isinstance(sample, Joined):
                found.update(sample.matched.found.counts)
                yield stretch.shard.source, sample
            else:
                left_out.append(QuarantinedRow.of(sample.key, sample.uid, "shard", sample.fault))


def captioned_image(recipe: ShardRecipe, key: str, shard: str, joined: Joined) -> CaptionedImage:
    """Builds the training sample. Its key is new, because keys of several input shards may be equal."""
    image, matched = joined.matched.image, joined.matched
    return CaptionedImage(
        key=key,
        uid=image.uid or "",
        url=image.url or "",
        source_shard=shard,
        source_key=image.key,
        width=matched.width,
        height=matched.height,
        sha256=matched.sha256,
        alt_text=image.caption,
        text=chosen_caption(joined.captions, recipe),
        captions=joined.captions_json,
        metadata=matched.row.metadata,
        extension=stored_extension(image.extension, image.image.data),
        image=image.image.data,
    )


def chosen_caption(captions: list[Caption], recipe: ShardRecipe) -> str:
    """Returns the caption of the granularity that the recipe asks for; if there is none, an empty text (counted)."""
    for caption in captions:
        if (caption.granularity, caption.include_datacomp_raw_cap) == (recipe.granularity, recipe.raw_caption):
            return training_text(caption.text) or ""  # parsed before, so at most a byte order mark is removed
    return ""
