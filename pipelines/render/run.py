"""Renders captions from an annotation set: one caption file per annotation file, without engines or images."""

import functools
import io
from collections.abc import Callable, Iterable

import pyarrow as pa
import pyarrow.compute as pc

from curation.captions.families import FAMILIES
from curation.captions.family import BaseCaptionOptions, CaptionFamily
from pipelines.output.job import Context, Job, run_job
from pipelines.output.output_set import parquet_bytes, put
from pipelines.output.totals import Totals
from pipelines.recipes.annotate import AnnotateRecipe
from pipelines.recipes.render import RenderRecipe
from pipelines.render.base_captions import BaseCaptions, Bases, identities_of
from pipelines.render.batch import columns_of, render_batch
from schemas.errors import ShardloomError, UsageError
from schemas.layouts.blip3_grounding import ALT_TEXT
from schemas.output_set.layout import DATA, MANIFESTS, QUARANTINE, committed, read_output
from schemas.output_set.manifest import InputFile, Manifest
from schemas.output_set.recipe_file import held_recipe, shown
from schemas.records.caption import Caption
from schemas.records.quarantine import QUARANTINE as QUARANTINE_SCHEMA
from schemas.records.quarantine import QuarantinedRow, Rejected, quarantine_table
from schemas.storage.folder import Folder
from schemas.storage.parquet import parquet_schema, read_table

ROWS = 8192  # rendered at once


class RenderJob(Job[Manifest]):
    """Renders annotations into captions: a unit is a committed annotation file."""

    title = "render"
    items = "captions"

    def __init__(self, recipe: RenderRecipe) -> None:
        self.recipe: RenderRecipe = recipe
        self._family = FAMILIES.find(recipe.family)
        self._annotations = Folder(recipe.input)

    def plan(self, context: Context) -> list[Manifest]:
        """See `Job`."""
        sources = annotation_manifests(self._annotations, self._family)
        self._bases = base_captions(self.recipe)
        return sources

    def changed(self, unit: Manifest | None, manifest: Manifest) -> str:
        """See `Job`. Captions remain valid if their annotations have been removed."""
        if unit is None or inputs_of(unit, self._bases) == manifest.inputs:
            return ""
        return "the annotations" + (" have" if self._bases is None else " or the base captions have")

    def work(self, context: Context) -> Callable[[Manifest], Manifest]:
        """See `Job`."""
        return functools.partial(render_file, self.recipe, self._family, context.output, self._annotations, self._bases)

    def count(self, manifests: Iterable[Manifest]) -> int:
        """See `Job`."""
        return sum(manifest.counts["captions"] for manifest in manifests)


def render_set(recipe: RenderRecipe, output: str, quiet: bool = False) -> Totals:
    """Renders every committed annotation file that has no committed captions yet. Returns the totals of the set."""
    return run_job(RenderJob(recipe), output, quiet)


def annotation_manifests(annotations: Folder, family: CaptionFamily) -> list[Manifest]:
    """Returns the manifests of an annotation set. Raises `UsageError` for another set, or one of other engines."""
    if (kind := held_recipe(annotations).get("kind")) != AnnotateRecipe.kind:
        raise UsageError(f"{annotations.url} is no annotation set, but one of kind {shown(kind)}")
    manifests = list(committed(annotations).values())
    if not manifests:
        raise UsageError(f"{annotations.url} holds no committed annotations ({MANIFESTS}/*.json)")
    if not any(family.column in manifest.fingerprints for manifest in manifests):
        engines = ",".join(family.columns)
        raise UsageError(f"{annotations.url} was annotated without {family.column}: run annotate {engines}")
    return manifests


def base_captions(recipe: RenderRecipe) -> BaseCaptions | None:
    """Opens the base captions that locations are written into; None if these are the alt texts."""
    options = recipe.options
    if not isinstance(options, BaseCaptionOptions):
        return None
    if options.caption_from is None:
        if options.caption_column is not None:
            raise UsageError("caption_column: there are no files to take it from: pass caption_from as well")
        return None
    return BaseCaptions.open(options.caption_from, options.caption_column)


def inputs_of(source: Manifest, bases: BaseCaptions | None) -> list[InputFile]:
    """Returns the inputs of captions: the annotation file, its image shard (used by joins), and the base captions."""
    name = data_name(source)
    own = [
        InputFile(path=file.path, size=file.size, sha256=file.sha256) for file in source.outputs if file.path == name
    ]
    return own + source.inputs + ([] if bases is None else [bases.revision])


def data_name(source: Manifest) -> str:
    """Returns the path of a manifest's annotation file. An empty shard has no such file."""
    return f"{DATA}/{source.name}.parquet"


def render_file(
    recipe: RenderRecipe,
    family: CaptionFamily,
    output: Folder,
    annotations: Folder,
    bases: BaseCaptions | None,
    source: Manifest,
) -> Manifest:
    """Renders one annotation file and writes the outputs. They count once the caller has written the manifest."""
    data = read_data(annotations, source)
    schema = caption_schema(family, bases, source)
    found: Bases | None = None
    rendered: list[pa.Table] = []
    rejected: list[pa.Table] = []
    if data is not None:
        rows = read_table(io.BytesIO(data), columns_of(family), annotations.path(data_name(source)))
        found = None if bases is None else bases.of(identities_of(rows, source.name))
        for first in range(0, rows.num_rows, ROWS):
            table = rows.slice(first, ROWS).combine_chunks()
            captions, faults = render_batch(table, family, recipe.options, schema, found)
            rendered.append(captions)
            rejected.append(quarantined(table, faults))
    rows_out = sum(table.num_rows for table in rendered)
    rows_rejected = sum(table.num_rows for table in rejected)
    per_row = len(set(recipe.options.granularities)) * (2 if recipe.options.raw_caption == "both" else 1)
    return Manifest.build(
        source.name,
        recipe.sha256(),
        inputs=inputs_of(source, bases),
        rows_in=rows_out + rows_rejected,
        data=put(output, data_name(source), parquet_bytes(rendered, schema), rows_out),
        others=[
            put(
                output,
                f"{QUARANTINE}/{source.name}.parquet",
                parquet_bytes(rejected, QUARANTINE_SCHEMA),
                rows_rejected,
            )
        ],
        reasons=[reason for table in rejected for reason in table["reason"].to_pylist()],
        counts={"captions": rows_out * per_row} | ({} if found is None else found.counts(keys_of(rendered))),
        fingerprints=source.fingerprints,
    )


def keys_of(rendered: list[pa.Table]) -> list[str]:
    """Returns the keys of the images that have captions."""
    return [key for table in rendered for key in table["key"].to_pylist()]


def caption_schema(family: CaptionFamily, bases: BaseCaptions | None, source: Manifest) -> pa.Schema:
    """Returns the family's layout. It names the annotations by their SHA-256, which does not depend on their path."""
    revision = next((file.sha256 for file in source.outputs if file.path == data_name(source)), "")
    return family.schema(revision, ALT_TEXT if bases is None else bases.column)


def read_data(annotations: Folder, source: Manifest) -> bytes | None:
    """Reads the annotation file and checks it against its manifest. Returns None if the shard was empty."""
    for file in source.outputs:
        if file.path == data_name(source):
            return read_output(annotations, file.path, file.sha256, file.size)
    return None


def quarantined(table: pa.Table, faults: list[Rejected | None]) -> pa.Table:
    """Returns the quarantine rows of the rows with a fault."""
    rows = [
        QuarantinedRow.of(key, uid, "render", fault)
        for key, uid, fault in zip(table["key"].to_pylist(), table["uid"].to_pylist(), faults, strict=True)
        if fault is not None
    ]
    return quarantine_table(rows)


def preview_record(recipe: RenderRecipe, key: str) -> list[Caption]:
    """Returns all captions of one record, found by uid, key or `file/key`. Writes nothing. Raises `UsageError`."""
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
        annotations.check_inside(data_name(manifest))
        with annotations.open(data_name(manifest)) as file:
            path = annotations.path(data_name(manifest))
            held = parquet_schema(file, path).names
            table = read_table(file, [name for name in columns_of(family) if name in held], path)
        table = table.filter(pc.or_kleene(pc.equal(table["key"], wanted), pc.equal(table["uid"], wanted)))
        if table.num_rows:
            schema = caption_schema(family, bases, manifest)
            table = table.slice(0, 1)
            found = None if bases is None else bases.of(identities_of(table, manifest.name))
            return captions_of(table, recipe, family, schema, found)
    raise UsageError(f"{recipe.input} has no annotation with the key or uid {key!r}")


def captions_of(
    table: pa.Table, recipe: RenderRecipe, family: CaptionFamily, schema: pa.Schema, bases: Bases | None
) -> list[Caption]:
    """Renders all captions of a one-row table, by the code that renders whole sets, even from too few lines or boxes.

    Raises `ShardloomError` if the row has a fault.
    """
    captions, faults = render_batch(table, family, recipe.options, schema, bases, least=0)
    for fault in faults:
        if fault is not None:
            raise ShardloomError(f"{recipe.input}: {table['key'][0].as_py()} gets no captions: {fault}")
    return family.parse(captions["captions"][0].as_py())
