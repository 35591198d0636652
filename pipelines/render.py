"""Renders captions from an annotation set: one caption file an annotation file, no engine, no image."""

import functools
import hashlib
import io
from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.captions.ocr import has_few_lines, keep_confident, render
from pipelines.output import DATA, MANIFESTS, QUARANTINE, begun, commit, committed, parquet_bytes, put
from pipelines.progress import Progress
from pipelines.recipe import AnnotateRecipe, RenderRecipe, held_recipe
from pipelines.stats import RunClock, Totals, totals
from pipelines.storage import Folder
from pipelines.units import map_units
from schemas.blip3_ocr import blip3_ocr_schema, parse_captions
from schemas.caption import Caption
from schemas.errors import ShardloomError, UsageError
from schemas.manifest import InputFile, Manifest
from schemas.quarantine import QUARANTINE as QUARANTINE_SCHEMA
from schemas.quarantine import Reason

COLUMNS = ["uid", "url", "key", "caption", "sha256", "ocr"]
ROWS = 8192  # rendered at once


def render_set(recipe: RenderRecipe, output: str, quiet: bool = False) -> Totals:
    """Renders every committed annotation file that has no committed captions yet."""
    folder, annotations = Folder(output), Folder(recipe.input)
    sources = annotation_manifests(annotations)
    with begun(folder, recipe):
        done = committed(folder)
        check_unchanged(folder, sources, done)
        todo = [manifest for manifest in sources if manifest.name not in done]
        clock = RunClock()
        work = functools.partial(render_file, recipe, folder, annotations)
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


def annotation_manifests(annotations: Folder) -> list[Manifest]:
    """The manifests of an annotation set. Raises `UsageError` when the folder is none, or has no OCR column."""
    if (kind := held_recipe(annotations).get("kind")) != AnnotateRecipe.kind:
        raise UsageError(f"{annotations.url} is no annotation set, but one of kind {kind!r}")
    manifests = list(committed(annotations).values())
    if not manifests:
        raise UsageError(f"{annotations.url} holds no committed annotations ({MANIFESTS}/*.json)")
    if not any("ocr" in manifest.engines for manifest in manifests):
        raise UsageError(f"{annotations.url} holds no OCR annotations: annotate with the ocr engine first")
    return manifests


def check_unchanged(output: Folder, sources: list[Manifest], done: dict[str, Manifest]) -> None:
    """Refuses to go on over annotations that were made anew since their captions were committed."""
    for source in sources:
        if source.name in done and annotation_inputs(source) != done[source.name].inputs:
            raise UsageError(
                f"the annotations have changed since {output.path(DATA)}/{source.name}.parquet was committed: "
                "take a new output folder"
            )


def annotation_inputs(source: Manifest) -> list[InputFile]:
    """What captions are made from: the annotation file, and the image shard behind it, by which joins know it."""
    name = data_name(source)
    own = [
        InputFile(path=file.path, size=file.size, sha256=file.sha256) for file in source.outputs if file.path == name
    ]
    return own + source.inputs


def data_name(source: Manifest) -> str:
    """The annotation file of a manifest; that of an empty shard is not there."""
    return f"{DATA}/{source.name}.parquet"


def render_file(recipe: RenderRecipe, output: Folder, annotations: Folder, source: Manifest) -> Manifest:
    """Renders one annotation file; its outputs are in place when this returns, and count once they are committed."""
    data = read_data(annotations, source)
    schema = blip3_ocr_schema(source_revision=source.recipe_sha256)
    rendered, rejected, rows_in = [], [], 0
    if data is not None:
        for batch in pq.ParquetFile(io.BytesIO(data)).iter_batches(ROWS, columns=COLUMNS):
            table = pa.Table.from_batches([batch])
            rows_in += table.num_rows
            ocr = keep_confident(table["ocr"], recipe.min_confidence)
            few = has_few_lines(ocr, recipe.min_lines)
            rejected.append(quarantined(table.filter(few), recipe))
            rendered.append(caption_table(table.filter(pc.invert(few)), ocr.filter(pc.invert(few)), recipe, schema))
    rows_out = sum(table.num_rows for table in rendered)
    per_row = len(set(recipe.granularities)) * (2 if recipe.raw_caption == "both" else 1)
    outputs = [
        put(output, f"{DATA}/{source.name}.parquet", parquet_bytes(rendered, schema), rows_out),
        put(
            output,
            f"{QUARANTINE}/{source.name}.parquet",
            parquet_bytes(rejected, QUARANTINE_SCHEMA),
            rows_in - rows_out,
        ),
    ]
    return Manifest(
        name=source.name,
        recipe_sha256=recipe.sha256(),
        inputs=annotation_inputs(source),
        rows_in=rows_in,
        rows_out=rows_out,
        reasons=dict(Counter({Reason.TOO_FEW_LINES.value: rows_in - rows_out}) + Counter()),
        counts={"captions": rows_out * per_row},
        outputs=outputs,
        engines=source.engines,
    )


def read_data(annotations: Folder, source: Manifest) -> bytes | None:
    """The annotation file, as it was committed; None when the shard was empty."""
    for file in source.outputs:
        if file.path == data_name(source):
            data = annotations.read(file.path)
            if hashlib.sha256(data).hexdigest() != file.sha256:
                raise ShardloomError(f"{annotations.path(file.path)} is not as it was committed: verify the set")
            return data
    return None


def caption_table(table: pa.Table, ocr: pa.ListArray, recipe: RenderRecipe, schema: pa.Schema) -> pa.Table:
    """Rows of the published layout."""
    columns = render(ocr, table["caption"], table["uid"], recipe.granularities, recipe.raw_caption)
    named = {name: table[name] for name in ("uid", "url", "key", "sha256")} | columns._asdict()
    return pa.table(named, schema=schema)


def quarantined(table: pa.Table, recipe: RenderRecipe) -> pa.Table:
    """The rows that are left without enough text."""
    rows = table.num_rows
    detail = f"fewer than {recipe.min_lines} lines of confidence {recipe.min_confidence:g} or more"
    texts = {"stage": "render", "reason": Reason.TOO_FEW_LINES.value, "detail": detail}
    constant = {name: pa.repeat(pa.scalar(text), rows) for name, text in texts.items()}
    return pa.table({"key": table["key"], "uid": table["uid"]} | constant, schema=QUARANTINE_SCHEMA)


def preview_record(recipe: RenderRecipe, key: str) -> list[Caption]:
    """All captions of one record, found by uid, key or `file/key`. Nothing is written."""
    annotations = Folder(recipe.input)
    wanted_file, _, wanted = key.rpartition("/")
    for manifest in annotation_manifests(annotations):
        if wanted_file not in ("", manifest.name) or not any(
            file.path == data_name(manifest) for file in manifest.outputs
        ):
            continue
        with annotations.open(data_name(manifest)) as file:
            match = (pc.field("key") == wanted) | (pc.field("uid") == wanted)
            table = pq.read_table(file, columns=COLUMNS, filters=match)
        if table.num_rows:
            return captions_of(table.slice(0, 1), recipe)
    raise UsageError(f"{recipe.input} has no annotation with the key or uid {key!r}")


def captions_of(table: pa.Table, recipe: RenderRecipe) -> list[Caption]:
    """All captions of a one-row table, by the same code that renders whole sets."""
    ocr = keep_confident(table["ocr"], recipe.min_confidence)
    columns = render(ocr, table["caption"], table["uid"], recipe.granularities, recipe.raw_caption)
    return parse_captions(columns.captions[0].as_py())


if __name__ == "__main__":
    import sys

    from pipelines.cli import main

    main(["render", *sys.argv[1:]])
