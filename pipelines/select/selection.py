"""What all files of a selection are chosen by, and whether it is still what it was.

Knows nothing of polars, which counts its threads when it is imported: in a worker that is told before how many.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.inputs.shards import InputShard
from pipelines.output.job import Context
from pipelines.recipes.select import SelectRecipe
from pipelines.select.threshold import Threshold, find_threshold, fingerprint, held_threshold, pool_sha256
from schemas.layouts.subset_file import check_subset
from schemas.output_set.manifest import InputFile, Manifest
from schemas.records.fingerprint import EngineFingerprint
from schemas.storage.matching import matching
from schemas.terminal import say


@dataclass(frozen=True, slots=True)
class Selection:
    """What all files are chosen by."""

    recipe: SelectRecipe
    threshold: float | None  # the least score of `top_fraction`
    uids: tuple[InputFile, ...]  # subset files
    exclude: tuple[InputFile, ...]
    fingerprints: dict[str, EngineFingerprint]


def selection_of(recipe: SelectRecipe, inputs: Sequence[InputShard], context: Context) -> Selection:
    """What all files are chosen by. Goes through the scores of all input for the top fraction of them."""
    fingerprints: dict[str, EngineFingerprint] = {}
    if recipe.rules.languages:
        from curation.selection.language import check_languages
        from curation.selection.language import fingerprint as of_language

        check_languages(recipe.rules.languages)
        fingerprints["language"] = of_language()
    uids, exclude = (tuple(subset_files(globs)) for globs in (recipe.uids, recipe.exclude))
    threshold = top_threshold(recipe, inputs, context)
    if threshold is not None:
        fingerprints["top_fraction"] = fingerprint(threshold, pool_sha256(inputs))
    return Selection(recipe, None if threshold is None else threshold.value, uids, exclude, fingerprints)


def subset_files(globs: Sequence[str]) -> list[InputFile]:
    """The subset files that the globs match, in the order of their paths."""
    return [check_subset(path) for path in sorted({path for pattern in globs for path in matching(pattern)})]


def top_threshold(recipe: SelectRecipe, inputs: Sequence[InputShard], context: Context) -> Threshold | None:
    """The least score of the top fraction, if there is such a rule."""
    fraction = recipe.rules.top_fraction
    if fraction is None:
        return None
    held = next((manifest.fingerprints.get("top_fraction") for manifest in context.done.values()), None)
    found = held_threshold(held, recipe.rules, pool_sha256(inputs)) or find_threshold(recipe, inputs, fraction, context)
    if not context.quiet:
        say(f"the top {fraction:g} of {found.rows:,} rows: {found.column} >= {found.value:.7g}")
    return found


def changed(shard: InputShard | None, selection: Selection, manifest: Manifest) -> str:
    """What is not as it was when the rows of a file were chosen; empty when all is."""
    metadata, *subsets = manifest.inputs
    if shard is None or (metadata.path, metadata.size) != (shard.label, shard.size()):
        return "the metadata has"
    if subsets != [*selection.uids, *selection.exclude]:
        return "subset files have"
    if manifest.fingerprints.get("top_fraction") != selection.fingerprints.get("top_fraction"):
        return "the metadata, and with it the least score of its top fraction, has"
    return "" if manifest.fingerprints == selection.fingerprints else "what finds languages has"
