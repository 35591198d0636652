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
from pipelines.shard.join import Joined, JoinedShard
from pipelines.shard.plan import Unit, check_unchanged, cut_units, take_census
from pipelines.terminal.progress import Progress
from schemas.errors import UsageError
from schemas.output_set.layout import DATA, PARTS, UNFINISHED, committed
from schemas.output_set.manifest import InputFile, Manifest
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
    visit = Visit(captions, unit)
    assert recipe.source is not None  # the caption set has filled it in
    writer = ShardWriter(output, recipe.format, is_captions=True, source=recipe.source, counter=counter)
    written = writer.write(
        unit.name, (Sample.of(captioned_image(recipe, unit.name, row, joined)) for row, joined in enumerate(visit))
    )
    return Manifest(
        name=unit.name,
        recipe_sha256=recipe.sha256(),
        inputs=visit.inputs,
        rows_in=visit.rows_in,
        rows_out=written.data.rows,
        reasons=dict(sorted(Counter(row["reason"] for row in visit.left_out).items())),
        counts=written.counts,
        outputs=[written.data, written.index, put_quarantine(output, unit.name, visit.left_out)],
        damage=visit.damage,
        engines=engines_of(counter),
    )


class Visit:
    """Goes through a unit's stretches: hands on the good samples, keeps account of everything else."""

    def __init__(self, captions: CaptionSet, unit: Unit) -> None:
        self.captions, self.unit = captions, unit
        self.inputs: list[InputFile] = [captions.revision]
        self.damage: list[str] = []
        self.left_out: list[dict[str, str | None]] = []
        self.rows_in = 0

    def __iter__(self) -> Iterator[Joined]:
        for stretch in self.unit.stretches:
            joined = JoinedShard(stretch.shard, self.captions, stretch.is_own)
            for sample in joined.samples(stretch.start, stretch.stop):
                self.rows_in += 1
                if isinstance(sample, Joined):
                    yield sample
                else:
                    self.left_out.append(
                        {
                            "key": sample.key,
                            "uid": sample.uid,
                            "stage": "shard",
                            "reason": sample.fault.reason.value,
                            "detail": sample.fault.detail,
                        }
                    )
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
