"""Traces a row of a caption set to the annotations that it was rendered from."""

from typing import Any

from curation.captions.families import FAMILIES
from curation.captions.inverse import read_template
from pipelines.explain.annotation_step import trace_annotation
from pipelines.explain.origin import Step
from pipelines.explain.trace import Trace, find_row, require_same
from pipelines.render.rendering import FILES
from pipelines.view.parquet_files import find_file, list_data_files, read_file
from pipelines.view.printed_items import find_template
from pipelines.view.source import SetSource
from schemas.errors import ShardloomError
from schemas.output_set.layout import DATA, read_manifests
from schemas.output_set.manifest import Manifest
from schemas.output_set.recipe_file import read_stored_recipe
from schemas.storage.folder import Folder

ANNOTATIONS = "annotations"
_OPTIONS = ("caption_from", "caption_name", "raw_caption")  # of the recipe, that say what a caption was made from


def trace_caption(folder: Folder, key: str, trace: Trace, name: str | None = None) -> None:
    """Adds the row of a caption set, in its output `name` or in any, and the annotations behind it."""
    recipe = read_stored_recipe(folder)
    source = SetSource(folder, recipe)
    found = find_row(list_data_files(source), lambda name: read_file(source, name), key, folder.url, name)
    row, manifest = found.row, source.manifests[found.name]
    family = FAMILIES.find(str(recipe.get("family", "ocr")))
    own = read_template(found.table.schema.metadata or {}, family.name) if family.use_template else None
    trace.template = find_template(family.name, own)
    try:
        trace.add_captions(family.parse(row[family.caption_column]), row.get("metadata") or "")
    except ValueError as error:
        raise ShardloomError(f"{folder.url}: {key}: its captions cannot be read: {error}: verify the set") from None
    file = find_file(manifest, DATA)
    assert file is not None, "its row has been read"
    facts = [("family", family.name), *_list_facts(recipe, manifest)]
    trace.steps.append(Step("render", folder.url, f"{file.path}, row {found.number}", tuple(facts)))
    annotations = trace.inputs.find(ANNOTATIONS, str(recipe.get("input")), folder.url)
    check_annotations(annotations, manifest, folder.url)
    trace_annotation(annotations, row["key"], trace, found.name)


def check_annotations(annotations: Folder, manifest: Manifest, made: str) -> None:
    """Raises `UsageError` if the annotation file is not the one that this output of the set at `made` was made from."""
    now = read_manifests(annotations).get(manifest.name)
    file = None if now is None else find_file(now, DATA)
    require_same(
        next(iter(manifest.inputs), None), None if file is None else file.sha256, ANNOTATIONS, annotations.url, made
    )


def _list_facts(recipe: dict[str, Any], manifest: Manifest) -> list[tuple[str, str | int]]:
    """Returns what else the captions were made from: options, and the hashes of a template, a prompt or phrases."""
    facts: list[tuple[str, str | int]] = [(name, str(recipe[name])) for name in _OPTIONS if recipe.get(name)]
    held = manifest.fingerprints
    return facts + [(f"{name} sha256", held[name].weights_sha256) for name in FILES if name in held]
