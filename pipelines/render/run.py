"""Renders captions from an annotation set: one caption file an annotation file, no engine, no image."""

import functools
import hashlib
import io
from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.captions.families import FAMILIES
from curation.captions.family import BaseCaptionOptions, CaptionFamily
from pipelines.cluster.map_units import map_units
from pipelines.output.output_set import begun, commit, parquet_bytes, put
from pipelines.output.totals import RunClock, Totals, totals
from pipelines.recipes.annotate import AnnotateRecipe
from pipelines.recipes.render import RenderRecipe
from pipelines.render.base_captions import BaseCaptions
from pipelines.render.batch import columns_of, render_batch
from pipelines.terminal.progress import Progress
from schemas.errors import ShardloomError, UsageError
from schemas.output_set.layout import DATA, MANIFESTS, QUARANTINE, committed
from schemas.output_set.manifest import InputFile, Manifest
from schemas.output_set.recipe_file import held_recipe
from schemas.records.caption import Caption
from schemas.records.quarantine import QUARANTINE as QUARANTINE_SCHEMA
from schemas.records.quarantine import Rejected
from schemas.storage.folder import Folder
from schemas.storage.parquet import read_table

ROWS = 8192  # rendered at once


def render_set(recipe: RenderRecipe, output: str, quiet: bool = False) -> Totals:
    """Renders every committed annotation file that has no committed captions yet."""
    folder, annotations = Folder(output), Folder(recipe.input)
    family = FAMILIES.find(recipe.family)
    sources = annotation_manifests(annotations, family)
    bases = base_captions(recipe)
    with begun(folder, recipe):
        done = committed(folder)
        check_unchanged(folder, sources, done, bases)
        todo = [manifest for manifest in sources if manifest.name not in done]
        clock = RunClock()
        work = functools.partial(render_file, recipe, family, folder, annotations, bases)
        with Progress("render", len(todo), "captions", quiet) as progress:
            captions = 0
            for manifest in map_units(work, todo, recipe.run):
                commit(folder, manifest)
                captions += manifest.counts["captions"]
                progress.advance(1)
                progress.show(captions)
        if todo:
            clock.stop(folder)
        return totals(folder)


def annotation_manifests(annotations: Folder, family: CaptionFamily) -> list[Manifest]:
    """The manifests of an annotation set. Raises `UsageError` when it is none, or not what the family is made of."""
    if (kind := held_recipe(annotations).get("kind")) != AnnotateRecipe.kind:
        raise UsageError(f"{annotations.url} is no annotation set, but one of kind {kind!r}")
    manifests = list(committed(annotations).values())
    if not manifests:
        raise UsageError(f"{annotations.url} holds no committed annotations ({MANIFESTS}/*.json)")
    if not any(family.column in manifest.engines for manifest in manifests):
        engines = ",".join(family.columns)
        raise UsageError(f"{annotations.url} was annotated without {family.column}: run annotate {engines}")
    return manifests


def base_captions(recipe: RenderRecipe) -> BaseCaptions | None:
    """The captions that places are put into, if they are not the alt texts."""
    options = recipe.options
    if not isinstance(options, BaseCaptionOptions):
        return None
    if options.caption_from is None:
        if options.caption_column is not None:
            raise UsageError("caption_column: there are no files to take it from: pass caption_from as well")
        return None
    return BaseCaptions.open(options.caption_from, options.caption_column)


def check_unchanged(
    output: Folder, sources: list[Manifest], done: dict[str, Manifest], bases: BaseCaptions | None
) -> None:
    """Refuses to go on over inputs that are not what they were when captions of them were committed."""
    for source in sources:
        if source.name in done and inputs_of(source, bases) != done[source.name].inputs:
            changed = "annotations have" if bases is None else "annotations or the captions that they are put into have"
            raise UsageError(
                f"the {changed} changed since {output.path(DATA)}/{source.name}.parquet was committed: "
                "take a new output folder"
            )


def inputs_of(source: Manifest, bases: BaseCaptions | None) -> list[InputFile]:
    """What captions are made from: the annotation file, the image shard behind it, by which joins know it, and more."""
    name = data_name(source)
    own = [
        InputFile(path=file.path, size=file.size, sha256=file.sha256) for file in source.outputs if file.path == name
    ]
    return own + source.inputs + ([] if bases is None else [bases.revision])


def data_name(source: Manifest) -> str:
    """The annotation file of a manifest; that of an empty shard is not there."""
    return f"{DATA}/{source.name}.parquet"


def render_file(
    recipe: RenderRecipe,
    family: CaptionFamily,
    output: Folder,
    annotations: Folder,
    bases: BaseCaptions | None,
    source: Manifest,
) -> Manifest:
    """Renders one annotation file; its outputs are in place when this returns, and count once they are committed."""
    data = read_data(annotations, source)
    schema = caption_schema(family, bases, source)
    rendered: list[pa.Table] = []
    rejected: list[pa.Table] = []
    if data is not None:
        file = pq.ParquetFile(io.BytesIO(data))
        found = None if bases is None else bases.of(file.read(["uid"])["uid"].to_pylist())
        for batch in file.iter_batches(ROWS, columns=columns_of(family)):
            table = pa.Table.from_batches([batch])
            captions, faults = render_batch(table, family, recipe.options, schema, found)
            rendered.append(captions)
            rejected.append(quarantined(table, faults))
    rows_out = sum(table.num_rows for table in rendered)
    rows_rejected = sum(table.num_rows for table in rejected)
    per_row = len(set(recipe.options.granularities)) * (2 if recipe.options.raw_caption == "both" else 1)
    outputs = [
        put(output, f"{DATA}/{source.name}.parquet", parquet_bytes(rendered, schema), rows_out),
        put(
            output,
            f"{QUARANTINE}/{source.name}.parquet",
            parquet_bytes(rejected, QUARANTINE_SCHEMA),
            rows_rejected,
        ),
    ]
    reasons = Counter(reason for table in rejected for reason in table["reason"].to_pylist())
    return Manifest(
        name=source.name,
        recipe_sha256=recipe.sha256(),
        inputs=inputs_of(source, bases),
        rows_in=rows_out + rows_rejected,
        rows_out=rows_out,
        reasons=dict(sorted(reasons.items())),
        counts={"captions": rows_out * per_row},
        outputs=outputs,
        engines=source.engines,
    )


def caption_schema(family: CaptionFamily, bases: BaseCaptions | None, source: Manifest) -> pa.Schema:
    """The family's layout. It names the annotations by their bytes, which are the same wherever they lie."""
    revision = next((file.sha256 for file in source.outputs if file.path == data_name(source)), "")
    return family.schema(revision, "alt_text" if bases is None else bases.column)


def read_data(annotations: Folder, source: Manifest) -> bytes | None:
    """The annotation file, as it was committed; None when the shard was empty."""
    for file in source.outputs:
        if file.path == data_name(source):
            data = annotations.read(file.path)
            if hashlib.sha256(data).hexdigest() != file.sha256:
                raise ShardloomError(f"{annotations.path(file.path)} is not as it was committed: verify the set")
            return data
    return None


def quarantined(table: pa.Table, faults: list[Rejected | None]) -> pa.Table:
    """The rows with a fault."""
    rows = [
        {"key": key, "uid": uid, "stage": "render", "reason": fault.reason.value, "detail": fault.detail}
        for key, uid, fault in zip(table["key"].to_pylist(), table["uid"].to_pylist(), faults, strict=True)
        if fault is not None
    ]
    return pa.Table.from_pylist(rows, schema=QUARANTINE_SCHEMA)


def preview_record(recipe: RenderRecipe, key: str) -> list[Caption]:
    """All captions of one record, found by uid, key or `file/key`. Nothing is written."""
    annotations = Folder(recipe.input)
    wanted_file, _, wanted = key.rpartition("/")
    family = FAMILIES.find(recipe.family)
    manifests = annotation_manifests(annotations, family)
    bases = base_captions(recipe)
    for manifest in manifests:
        if wanted_file not in ("", manifest.name) or not any(
            file.path == data_name(manifest) for file in manifest.outputs
        ):
            continue
        with annotations.open(data_name(manifest)) as file:
            columns = [name for name in columns_of(family) if name in pq.read_schema(file).names]
            table = read_table(file, columns)
        table = table.filter(pc.or_kleene(pc.equal(table["key"], wanted), pc.equal(table["uid"], wanted)))
        if table.num_rows:
            schema = caption_schema(family, bases, manifest)
            return captions_of(table.slice(0, 1), recipe, family, schema, bases)
    raise UsageError(f"{recipe.input} has no annotation with the key or uid {key!r}")


def captions_of(
    table: pa.Table, recipe: RenderRecipe, family: CaptionFamily, schema: pa.Schema, bases: BaseCaptions | None
) -> list[Caption]:
    """All captions of a one-row table, by the same code that renders whole sets; also of too few lines or boxes."""
    found = None if bases is None else bases.of(table["uid"].to_pylist())
    captions, faults = render_batch(table, family, recipe.options, schema, found, least=0)
    for fault in faults:
        if fault is not None:
            raise ShardloomError(f"{recipe.input}: {table['key'][0].as_py()} gets no captions: {fault}")
    return family.parse(captions["captions"][0].as_py())
