"""Renders captions from an annotation set: one caption file per annotation file, without engines or images."""

import functools
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import pyarrow as pa

from curation.captions.family import BaseCaptionOptions
from curation.engines.stages import get_caption_name
from pipelines.inputs.row_choice import describe_other_choice
from pipelines.inputs.row_filter import RowFilter
from pipelines.inputs.row_keys import find_key, order_files
from pipelines.output.job import Context, Job, run_job
from pipelines.output.totals import Totals
from pipelines.output.writer import encode_parquet, write_output
from pipelines.recipes.annotate import AnnotateRecipe
from pipelines.recipes.render import RenderRecipe
from pipelines.render.base_captions import BaseCaptionFiles, ShardBaseCaptions, read_identities
from pipelines.render.batch import render_batch
from pipelines.render.chosen_rows import ChosenTable, choose_sources, open_condition, read_chosen
from pipelines.render.rendering import FILES, Rendering
from pipelines.render.units import RenderUnit, RenderUnits, find_data, get_data_name
from schemas.errors import ShardloomError, UsageError
from schemas.layouts.blip3_grounding import ALT_TEXT
from schemas.output_set.layout import MANIFESTS, QUARANTINE, read_manifests, read_output
from schemas.output_set.manifest import InputFile, Manifest
from schemas.output_set.recipe_file import format_value, read_stored_recipe
from schemas.records.caption import Caption
from schemas.records.quarantine import QUARANTINE_SCHEMA, QuarantinedRow, Rejected, make_quarantine_table
from schemas.storage.folder import Folder
from schemas.storage.parquet import read_parquet_schema, read_table

if TYPE_CHECKING:
    from pipelines.render.caption_partition import CaptionPartition

BATCH_ROWS = 8192  # rendered at once


class RenderJob(Job[Manifest]):
    """Renders annotations into captions: a unit is a committed annotation file."""

    title = "render"
    items = "captions"

    def __init__(self, recipe: RenderRecipe) -> None:
        self._rendering = Rendering.resolve(recipe)
        self.recipe: RenderRecipe = self._rendering.recipe
        self._annotations = Folder(recipe.input)
        self._partition: CaptionPartition | None = None

    def plan(self, context: Context) -> list[Manifest]:
        """See `Job`."""
        sources = read_annotation_manifests(self._annotations, self._rendering)
        self._condition = open_condition(self.recipe, self._annotations, sources)
        self._bases = open_base_captions(self.recipe)
        chosen = choose_sources(self.recipe, sources)
        self._choices = {source.name: choice for source, choice in chosen}
        return [source for source, _ in chosen]

    def get_progress_size(self, unit: Manifest) -> int:
        """See `Job`. Counts the chosen rows, where the recipe chooses rows by their places."""
        choice = self._choices[unit.name]
        return 1 if choice is None else choice.chosen

    def describe_change(self, unit: Manifest | None, manifest: Manifest) -> str:
        """See `Job`. Captions remain valid if their annotations have been removed, unless they were chosen of these."""
        if other := describe_other_choice(self.recipe, self._choices.get(manifest.name), manifest.rows_chosen):
            return other
        held, now = manifest.fingerprints, self._rendering.fingerprints
        if changed := next((name for name in FILES if held.get(name) != now.get(name)), None):
            return f"the {changed} has" if changed != "leaks" else "the phrases of leaks have"
        if unit is None or list_inputs(unit, self._bases) == manifest.inputs:
            return ""
        return "the annotations" + (" have" if self._bases is None else " or the base captions have")

    def prepare(self, context: Context, todo: list[Manifest]) -> list[Manifest]:
        """See `Job`."""
        files = {source.name: file for source in todo if (file := find_data(source)) is not None}
        if self._bases is not None and files:
            from pipelines.render.caption_partition import CaptionPartition  # imports polars, as below

            self._partition = CaptionPartition(context, self._bases, self._annotations, files)
        return todo

    def load(self, todo: list[Manifest]) -> RenderUnits:
        """See `Job`."""
        return RenderUnits(todo, self._partition, self._choices)

    def make_task(self, context: Context) -> Callable[[RenderUnit], Manifest]:
        """See `Job`."""
        shared = (self._rendering, context.output, self._annotations, self._bases, self._condition)
        return functools.partial(render_file, *shared)

    def count(self, manifests: Iterable[Manifest]) -> int:
        """See `Job`."""
        return sum(manifest.counts["captions"] for manifest in manifests)


def render_set(recipe: RenderRecipe, output: str) -> Totals:
    """Renders every committed annotation file that has no committed captions yet. Returns the totals of the set."""
    return run_job(RenderJob(recipe), output)


def read_annotation_manifests(annotations: Folder, rendering: Rendering) -> list[Manifest]:
    """Returns the manifests of an annotation set. Raises `UsageError` for another set, or one of other engines."""
    if (kind := read_stored_recipe(annotations).get("kind")) != AnnotateRecipe.kind:
        raise UsageError(f"{annotations.url} is not an annotation set: its kind is {format_value(kind)}")
    manifests = list(read_manifests(annotations).values())
    if not manifests:
        raise UsageError(f"{annotations.url} holds no committed annotations ({MANIFESTS}/*.json)")
    held = set().union(*(manifest.fingerprints for manifest in manifests))
    for stage in rendering.list_stages():
        if stage in held:
            continue
        if (name := get_caption_name(stage)) is not None:
            names = ", ".join(sorted(filter(None, map(get_caption_name, held)))) or "none"
            raise UsageError(f"{annotations.url} has no caption {name!r}: set caption_name to one of {names}")
        engines = ",".join(rendering.family.columns if stage == rendering.family.column else [stage])
        raise UsageError(f"{annotations.url} was annotated without {stage}: run annotate {engines}")
    return manifests


def open_base_captions(recipe: RenderRecipe) -> BaseCaptionFiles | None:
    """Opens the files of base captions that locations are written into; None if these are of the pass, or alt texts."""
    options = recipe.options
    if not isinstance(options, BaseCaptionOptions) or options.caption_from is None:
        return None
    return BaseCaptionFiles.open(options.caption_from, options.caption_column)


def list_inputs(source: Manifest, bases: BaseCaptionFiles | None) -> list[InputFile]:
    """Returns the inputs of captions: the annotation file, its image shard (used by joins), and the base captions."""
    file = find_data(source)
    own = [] if file is None else [InputFile(path=file.path, size=file.size, sha256=file.sha256)]
    return own + source.inputs + ([] if bases is None else [bases.revision])


def render_file(
    rendering: Rendering,
    output: Folder,
    annotations: Folder,
    bases: BaseCaptionFiles | None,
    condition: RowFilter | None,
    unit: RenderUnit,
) -> Manifest:
    """Renders one annotation file and writes the outputs. They take effect once the caller commits the manifest."""
    source, recipe = unit.source, rendering.recipe
    data = read_data(annotations, source)
    schema = build_caption_schema(rendering, bases, source)
    found: ShardBaseCaptions | None = None
    rendered: list[pa.Table] = []
    rejected: list[pa.Table] = []
    changes = Counter[str]()
    chosen: ChosenTable | None = None
    if data is not None:
        path = annotations.resolve_path(get_data_name(source))
        chosen = read_chosen(data, rendering.list_columns(), path, unit.choice, condition)
        rows = chosen.rows
        if bases is not None:
            from pipelines.render.caption_partition import find_captions

            found = find_captions(output, bases, unit.segments, read_identities(rows, source.name))
        for first in range(0, rows.num_rows, BATCH_ROWS):
            table = rows.slice(first, BATCH_ROWS).combine_chunks()
            batch = render_batch(table, rendering, schema, found)
            rendered.append(batch.captions)
            rejected.append(quarantine_rows(table, batch.faults))
            changes.update(batch.counts)
    rows_out = sum(table.num_rows for table in rendered)
    rows_rejected = sum(table.num_rows for table in rejected)
    per_row = len(set(recipe.options.granularities)) * (2 if recipe.options.raw_caption == "both" else 1)
    return Manifest.build(
        source.name,
        recipe.compute_sha256(),
        inputs=list_inputs(source, bases),
        rows_in=0 if chosen is None else chosen.rows_in,
        data=write_output(output, get_data_name(source), encode_parquet(rendered, schema), rows_out),
        others=[
            write_output(
                output,
                f"{QUARANTINE}/{source.name}.parquet",
                encode_parquet(rejected, QUARANTINE_SCHEMA),
                rows_rejected,
            )
        ],
        reasons=[reason for table in rejected for reason in table["reason"].to_pylist()],
        counts={"captions": rows_out * per_row}
        | ({} if found is None else found.count_matches(list_keys(rendered)))
        | changes,
        fingerprints=source.fingerprints | rendering.fingerprints,
        left_out={} if chosen is None else chosen.left_out,
    )


def list_keys(rendered: list[pa.Table]) -> list[str]:
    """Returns the keys of the images that have captions."""
    return [key for table in rendered for key in table["key"].to_pylist()]


def build_caption_schema(rendering: Rendering, bases: BaseCaptionFiles | None, source: Manifest) -> pa.Schema:
    """Returns the family's layout. It names the annotations by their SHA-256, which does not depend on their path."""
    file = find_data(source)
    base = (rendering.caption_name or ALT_TEXT) if bases is None else bases.column
    return rendering.build_schema("" if file is None else file.sha256, base)


def read_data(annotations: Folder, source: Manifest) -> bytes | None:
    """Reads the annotation file and checks it against its manifest. Returns None if the shard was empty."""
    file = find_data(source)
    return None if file is None else read_output(annotations, file.path, file.sha256, file.size)


def quarantine_rows(table: pa.Table, faults: list[Rejected | None]) -> pa.Table:
    """Returns the quarantine rows of the rows with a fault."""
    rows = [
        QuarantinedRow.from_rejected(key, uid, "render", fault)
        for key, uid, fault in zip(table["key"].to_pylist(), table["uid"].to_pylist(), faults, strict=True)
        if fault is not None
    ]
    return make_quarantine_table(rows)


def preview_record(recipe: RenderRecipe, key: str) -> list[Caption]:
    """Returns all captions of one record, found by uid, key or `file/key`. Writes nothing. Raises `UsageError`."""
    annotations = Folder(recipe.input)
    rendering = Rendering.resolve(recipe)
    recipe = rendering.recipe
    manifests = {manifest.name: manifest for manifest in read_annotation_manifests(annotations, rendering)}
    bases = open_base_captions(recipe)
    for name in order_files(manifests, key):
        manifest = manifests[name]
        if find_data(manifest) is None:
            continue
        annotations.check_inside(get_data_name(manifest))
        with annotations.open(get_data_name(manifest)) as file:
            path = annotations.resolve_path(get_data_name(manifest))
            held = read_parquet_schema(file, path).names
            table = read_table(file, [name for name in rendering.list_columns() if name in held], path)
        table = find_key(table, key, manifest.name)
        if table.num_rows:
            schema = build_caption_schema(rendering, bases, manifest)
            table = table.slice(0, 1)
            found = None if bases is None else bases.look_up(read_identities(table, manifest.name))
            return render_row(table, rendering, schema, found)
    raise UsageError(f"{recipe.input} has no annotation with the key or uid {key!r}")


def render_row(
    table: pa.Table, rendering: Rendering, schema: pa.Schema, bases: ShardBaseCaptions | None
) -> list[Caption]:
    """Renders all captions of a one-row table, by the code that renders whole sets, even from too few lines or boxes.

    Raises `ShardloomError` if the row has a fault.
    """
    captions, faults, _ = render_batch(table, rendering, schema, bases, min_items=0)
    for fault in faults:
        if fault is not None:
            raise ShardloomError(f"{rendering.recipe.input}: {table['key'][0].as_py()} gets no captions: {fault}")
    return rendering.family.parse(captions[rendering.family.caption_column][0].as_py())
