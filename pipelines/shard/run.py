"""Joins image shards with a caption set into training shards of equal length, each with its index."""

import functools
from collections.abc import Callable, Iterator

from curation.tokens import TokenCounter, token_counter
from pipelines.inputs.shards import input_shards
from pipelines.output.job import Context, Job, run_job
from pipelines.output.output_set import put_quarantine
from pipelines.output.totals import Totals
from pipelines.output.training_shards import ShardWriter, counts_of, sample_of
from pipelines.recipes.shard import ShardRecipe
from pipelines.shard.caption_set import CaptionSet
from pipelines.shard.join import Joined, JoinedShard
from pipelines.shard.plan import Unit, changed, cut_units, take_census
from schemas.output_set.manifest import InputFile, Manifest
from schemas.records.caption import Caption
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.quarantine import QuarantinedRow
from schemas.records.training_shard import CaptionedImage
from schemas.storage.folder import Folder


class ShardJob(Job[Unit]):
    """Image shards and captions in, training shards out."""

    title = "shard"

    def __init__(self, recipe: ShardRecipe) -> None:
        self._captions = CaptionSet(recipe.captions)
        self.recipe: ShardRecipe = self._captions.resolved(recipe)

    def plan(self, context: Context) -> list[Unit]:
        """See `Job`."""
        recipe = self.recipe
        inputs = input_shards(recipe.images, ".tar")
        self._counter = token_counter(recipe.tokenizer, recipe.run.allow_download) if recipe.tokenizer else None
        with context.progress("join", len(inputs), "samples") as progress:
            censuses = []
            for census in context.runner.map(functools.partial(take_census, self._captions), inputs):
                censuses.append(census)
                progress.advance(1)
        order = {shard.name: position for position, shard in enumerate(inputs)}
        return cut_units(sorted(censuses, key=lambda census: order[census.shard.name]), recipe.samples_per_shard)

    def changed(self, unit: Unit | None, manifest: Manifest) -> str:
        """See `Job`."""
        if changed(unit, manifest, self._captions):
            return "the images or captions have"
        return "" if manifest.fingerprints == fingerprints_of(self._counter) else "the tokenizer has"

    def work(self, context: Context) -> Callable[[Unit], Manifest]:
        """See `Job`."""
        return functools.partial(write_unit, self.recipe, context.output, self._captions, self._counter)


def shard(recipe: ShardRecipe, output: str, quiet: bool = False) -> Totals:
    """Writes the training shards that are not committed yet."""
    return run_job(ShardJob(recipe), output, quiet)


def fingerprints_of(counter: TokenCounter | None) -> dict[str, EngineFingerprint]:
    """What the manifests say of the tokenizer."""
    return {} if counter is None else {"tokenizer": counter.fingerprint}


def write_unit(
    recipe: ShardRecipe, output: Folder, captions: CaptionSet, counter: TokenCounter | None, unit: Unit
) -> Manifest:
    """Writes one shard, its index and its quarantine; they count once the manifest is written."""
    visit = Visit(captions, unit)
    assert recipe.source is not None  # the caption set has filled it in
    source, tokenizer = recipe.source, None if counter is None else counter.fingerprint
    writer = ShardWriter(output, recipe.format, is_captions=True, tokenizer=tokenizer)
    written = writer.write(
        unit.name,
        (
            sample_of(captioned_image(recipe, unit.name, row, joined), source, counter)
            for row, joined in enumerate(visit)
        ),
    )
    return Manifest.build(
        unit.name,
        recipe.sha256(),
        inputs=visit.inputs,
        rows_in=visit.rows_in,
        data=written.data,
        others=[written.index, put_quarantine(output, unit.name, visit.left_out)],
        reasons=[row.reason for row in visit.left_out],
        counts=counts_of(written.rows, with_tokens=counter is not None),
        damage=visit.damage,
        fingerprints=fingerprints_of(counter),
    )


class Visit:
    """Goes through a unit's stretches: hands on the good samples, keeps account of everything else."""

    def __init__(self, captions: CaptionSet, unit: Unit) -> None:
        self.captions, self.unit = captions, unit
        self.inputs: list[InputFile] = [captions.revision]
        self.damage: list[str] = []
        self.left_out: list[QuarantinedRow] = []
        self.rows_in = 0

    def __iter__(self) -> Iterator[Joined]:
        for stretch in self.unit.stretches:
            joined = JoinedShard(stretch.shard, self.captions, stretch.is_own)
            for sample in joined.samples(stretch.start, stretch.stop):
                self.rows_in += 1
                if isinstance(sample, Joined):
                    yield sample
                else:
                    self.left_out.append(QuarantinedRow.of(sample.key, sample.uid, "shard", sample.fault))
            reader = joined.reader
            self.inputs.append(InputFile(path=stretch.shard.path, size=reader.size, sha256=reader.sha256))
            self.damage += [f"{stretch.shard.name}: byte {found.offset}: {found.what}" for found in reader.damage]


def captioned_image(recipe: ShardRecipe, unit: str, row: int, joined: Joined) -> CaptionedImage:
    """The training sample. Its key is new, because keys of several input shards may be equal."""
    image = joined.image
    return CaptionedImage(
        key=f"{unit}{row:06d}",
        uid=image.uid or "",
        url=image.url or "",
        source_shard=joined.shard,
        source_key=image.key,
        width=joined.width,
        height=joined.height,
        sha256=joined.sha256,
        alt_text=image.caption,
        text=chosen_caption(joined.captions, recipe),
        captions=joined.row.captions,
        metadata=joined.row.metadata,
        extension={"jpeg": "jpg", "tiff": "tif"}.get(image.extension, image.extension),
        image=image.image.data,
    )


def chosen_caption(captions: list[Caption], recipe: ShardRecipe) -> str:
    """The text of the granularity that the recipe asks for; empty, and counted as such, when there is none."""
    for caption in captions:
        if (caption.granularity, caption.include_datacomp_raw_cap) == (recipe.granularity, recipe.raw_caption):
            return caption.text
    return ""
