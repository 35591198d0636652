"""Resolves the criteria that apply to all files of a selection, and detects whether they have changed.

This module must not import polars, which reads its number of threads on import: a worker sets that number first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.inputs.shards import InputShard
from pipelines.output.job import Context
from pipelines.recipes.select import SelectRecipe
from pipelines.select.threshold import (
    Threshold,
    find_threshold,
    fingerprint_threshold,
    hash_inputs,
    read_stored_threshold,
)
from schemas.layouts.subset_file import check_subset
from schemas.log import LOG
from schemas.output_set.manifest import InputFile, Manifest
from schemas.records.fingerprint import EngineFingerprint
from schemas.storage.path_patterns import list_matching


@dataclass(frozen=True, slots=True)
class Selection:
    """Holds the resolved criteria that apply to all files."""

    recipe: SelectRecipe
    threshold: float | None  # the least score of `top_fraction`
    uids: tuple[InputFile, ...]  # subset files
    exclude: tuple[InputFile, ...]
    fingerprints: dict[str, EngineFingerprint]


def build_selection(recipe: SelectRecipe, inputs: Sequence[InputShard], context: Context) -> Selection:
    """Resolves the criteria of a recipe. A top fraction needs a pass over the scores of all input."""
    fingerprints: dict[str, EngineFingerprint] = {}
    if recipe.rules.languages:
        from curation.selection.language import build_language_fingerprint as of_language
        from curation.selection.language import check_languages

        check_languages(recipe.rules.languages)
        fingerprints["language"] = of_language()
    uids, exclude = (tuple(find_subset_files(globs)) for globs in (recipe.uids, recipe.exclude))
    threshold = find_top_threshold(recipe, inputs, context)
    if threshold is not None:
        fingerprints["top_fraction"] = fingerprint_threshold(threshold, hash_inputs(inputs))
    return Selection(recipe, None if threshold is None else threshold.value, uids, exclude, fingerprints)


def find_subset_files(globs: Sequence[str]) -> list[InputFile]:
    """Returns the subset files that match the globs, sorted by path."""
    return [check_subset(path) for path in sorted({path for pattern in globs for path in list_matching(pattern)})]


def find_top_threshold(recipe: SelectRecipe, inputs: Sequence[InputShard], context: Context) -> Threshold | None:
    """Returns the threshold of the top fraction, from committed outputs or a new pass; None without such a rule."""
    fraction = recipe.rules.top_fraction
    if fraction is None:
        return None
    held = next((manifest.fingerprints.get("top_fraction") for manifest in context.done.values()), None)
    found = read_stored_threshold(held, recipe.rules, hash_inputs(inputs)) or find_threshold(
        recipe, inputs, fraction, context
    )
    LOG.info(f"the top {fraction:g} of {found.rows:,} rows: {found.column} >= {found.value:.7g}")
    return found


def describe_change(shard: InputShard | None, selection: Selection, manifest: Manifest) -> str:
    """Names what has changed since the rows of a file were selected, such as "the metadata has"; empty if none."""
    metadata, *subsets = manifest.inputs
    if shard is None or (metadata.path, metadata.size) != (shard.label, shard.get_size()):
        return "the metadata has"
    if subsets != [*selection.uids, *selection.exclude]:
        return "subset files have"
    if manifest.fingerprints.get("top_fraction") != selection.fingerprints.get("top_fraction"):
        return "the metadata, and with it the least score of its top fraction, has"
    return "" if manifest.fingerprints == selection.fingerprints else "the language detector has"
