"""Joins image shards with a caption set into training shards of equal length, each with its index."""

import functools
from collections import Counter
from collections.abc import Iterator

from curation.tokens import TokenCounter, token_counter
from pipelines.cluster.map_units import map_units
from pipelines.inputs.shards import input_shards
from pipelines.output.output_set import begun, commit
from pipelines.output.totals import RunClock, Totals, check_damage, totals
from pipelines.output.training_shards import Sample, ShardWriter, put_quarantine
from pipelines.recipes.shard import ShardRecipe
from pipelines.shard.caption_set import CaptionSet
from pipelines.shard.census import take_census
from pipelines.shard.join import Joined, LeftOut
from pipelines.shard.plan import Unit, check_unchanged, cut_units
from pipelines.terminal.progress import Progress
from schemas.errors import UsageError
from schemas.output_set.layout import DATA, PARTS, UNFINISHED, committed
from schemas.output_set.manifest import Manifest
from schemas.records.caption import Caption
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.training_shard import CaptionedImage
from schemas.storage.folder import Folder


def shard(recipe: ShardRecipe, output: str, quiet: bool = False) -> Totals:
    """Writes the training shards that are not committed yet."""
    folder = Folder(output)
    inputs = input_shards(recipe.images, ".tar")
    captions = CaptionSet(recipe.captions)
    recipe = captions.resolved(recipe)
    counter = token_counter(recipe.tokenizer, recipe.run.allow_download) if recipe.tokenizer else None
    with begun(folder, recipe):
        done = committed(folder)
        clock = RunClock()
        with Progress("join", len(inputs), "samples", quiet) as progress:
            censuses = []
            for census in map_units(functools.partial(take_census, captions), inputs, recipe.run):
                censuses.append(census)
                progress.advance(1)
        order = {shard.name: position for position, shard in enumerate(inputs)}
        units = cut_units(sorted(censuses, key=lambda census: order[census.shard.name]), recipe.samples_per_shard)
        check_unchanged(folder, {unit.name: unit for unit in units}, done, captions)
        check_tokenizer(folder, done, counter)
        todo = [unit for unit in units if unit.name not in done]
        if todo:
            folder.write(UNFINISHED, b"")
        with Progress("shard", len(todo), "samples", quiet) as progress:
            samples = 0
            work = functools.partial(write_unit, recipe, folder, captions, counter)
            for manifest in map_units(work, todo, recipe.run):
                commit(folder, manifest)
                samples += manifest.rows_out
                progress.advance(1)
                progress.show(samples)
        folder.clear(PARTS)  # also the mark of a run that was killed after its last commit
        if todo:
            clock.stop(folder)
        result = totals(folder)
    check_damage(result, recipe.run.allow_damaged)
    return result


def check_tokenizer(output: Folder, done: dict[str, Manifest], counter: TokenCounter | None) -> None:
    """Refuses to go on with another tokenizer than the one that counted what is committed."""
    for name, manifest in done.items():
        if manifest.engines != engines_of(counter):
            raise UsageError(
                f"the tokenizer has changed since {output.path(DATA)}/{name} was committed: take a new output folder"
            )


def engines_of(counter: TokenCounter | None) -> dict[str, EngineFingerprint]:
    """What the manifests say of the tokenizer."""
    return {} if counter is None else {"tokenizer": counter.fingerprint}


def write_unit(
    recipe: ShardRecipe, output: Folder, captions: CaptionSet, counter: TokenCounter | None, unit: Unit
) -> Manifest:
    """Writes one shard, its index and its quarantine; they count once the manifest is written."""
    assert recipe.source is not None  # the caption set has filled it in
    left_out: list[LeftOut] = []
    writer = ShardWriter(output, recipe.format, is_captions=True, source=recipe.source, counter=counter)
    records = (
        captioned_image(recipe, f"{unit.name}{row:06d}", shard, joined)
        for row, (shard, joined) in enumerate(joined_samples(captions, unit, left_out))
    )
    written = writer.write(unit.name, map(Sample.of, records))
    rows = [quarantined(each) for each in left_out]
    return Manifest(
        name=unit.name,
        recipe_sha256=recipe.sha256(),
        inputs=[captions.revision, *unit.inputs],
        rows_in=unit.rows,
        rows_out=written.data.rows,
        reasons=dict(sorted(Counter(each.fault.reason.value for each in left_out).items())),
        counts=written.counts,
        outputs=[written.data, written.index, put_quarantine(output, unit.name, rows)],
        damage=unit.damage,
        engines=engines_of(counter),
    )


def joined_samples(captions: CaptionSet, unit: Unit, left_out: list[LeftOut]) -> Iterator[tuple[str, Joined]]:
    """Reads a unit's samples. Yields those with captions, each with its shard; appends the others to `left_out`."""
    for stretch in unit.stretches:
        for sample in stretch.census.samples(captions, stretch.start, stretch.stop):
            if isinstance(sample, Joined):
                yield stretch.shard.name, sample
            else:
                left_out.append(sample)


def quarantined(sample: LeftOut) -> dict[str, str | None]:
    """The sample as a row of the quarantine."""
    fault = sample.fault
    ids: dict[str, str | None] = {"key": sample.key, "uid": sample.uid}
    return ids | {"stage": "shard", "reason": fault.reason.value, "detail": fault.detail}


def captioned_image(recipe: ShardRecipe, key: str, shard: str, joined: Joined) -> CaptionedImage:
    """The training sample. Its key is new, because keys of several input shards may be equal."""
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
        extension={"jpeg": "jpg", "tiff": "tif"}.get(image.extension, image.extension),
        image=image.image.data,
    )


def chosen_caption(captions: list[Caption], recipe: ShardRecipe) -> str:
    """The text of the granularity that the recipe asks for; empty, and counted as such, when there is none."""
    for caption in captions:
        if (caption.granularity, caption.include_datacomp_raw_cap) == (recipe.granularity, recipe.raw_caption):
            return caption.text
    return ""
