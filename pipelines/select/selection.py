"""What all files of a selection are chosen by, and whether it is still what it was.

Knows nothing of polars, which counts its threads when it is imported: in a worker that is told before how many.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.inputs.shards import InputShard
from pipelines.recipes.select import SelectRecipe
from pipelines.select.threshold import Threshold, find_threshold, fingerprint, held_threshold, pool_sha256
from schemas.errors import UsageError
from schemas.layouts.subset_file import check_subset
from schemas.output_set.layout import DATA
from schemas.output_set.manifest import InputFile, Manifest
from schemas.records.fingerprint import EngineFingerprint
from schemas.storage.folder import Folder, matching


@dataclass(frozen=True, slots=True)
class Selection:
    """What all files are chosen by."""

    recipe: SelectRecipe
    threshold: float | None  # the least score of `top_fraction`
    uids: tuple[InputFile, ...]  # subset files
    exclude: tuple[InputFile, ...]
    engines: dict[str, EngineFingerprint]


def selection_of(
    recipe: SelectRecipe, inputs: Sequence[InputShard], done: dict[str, Manifest], quiet: bool
) -> Selection:
    """What all files are chosen by. Goes through the scores of all input for the top fraction of them."""
    engines: dict[str, EngineFingerprint] = {}
    if recipe.rules.languages:
        from curation.selection.language import check_languages
        from curation.selection.language import fingerprint as of_language

        check_languages(recipe.rules.languages)
        engines["language"] = of_language()
    uids, exclude = (tuple(subset_files(globs)) for globs in (recipe.uids, recipe.exclude))
    threshold = top_threshold(recipe, inputs, done, quiet)
    if threshold is not None:
        engines["top_fraction"] = fingerprint(threshold, pool_sha256(inputs))
    return Selection(recipe, None if threshold is None else threshold.value, uids, exclude, engines)


def subset_files(globs: Sequence[str]) -> list[InputFile]:
    """The subset files that the globs match, in the order of their paths."""
    return [check_subset(path) for path in sorted({path for pattern in globs for path in matching(pattern)})]


def top_threshold(
    recipe: SelectRecipe, inputs: Sequence[InputShard], done: dict[str, Manifest], quiet: bool
) -> Threshold | None:
    """The least score of the top fraction, if there is such a rule."""
    fraction = recipe.rules.top_fraction
    if fraction is None:
        return None
    held = next((manifest.engines.get("top_fraction") for manifest in done.values()), None)
    found = held_threshold(held, recipe.rules, pool_sha256(inputs)) or find_threshold(recipe, inputs, fraction, quiet)
    if not quiet:
        print(f"the top {fraction:g} of {found.rows:,} rows: {found.column} >= {found.value:.7g}", file=sys.stderr)
    return found


def check_unchanged(
    output: Folder, inputs: Sequence[InputShard], selection: Selection, done: dict[str, Manifest]
) -> None:
    """Refuses to go on over another input, or by other means, than what is committed was chosen from and by."""
    there = {shard.name: (shard.path, shard.size()) for shard in inputs}
    for name, manifest in done.items():
        metadata, *subsets = manifest.inputs
        if (metadata.path, metadata.size) != there.get(name):
            what = "the metadata has"
        elif subsets != [*selection.uids, *selection.exclude]:
            what = "subset files have"
        elif manifest.engines.get("top_fraction") != selection.engines.get("top_fraction"):
            what = "the metadata, and with it the least score of its top fraction, has"
        elif manifest.engines != selection.engines:
            what = "what finds languages has"
        else:
            continue
        raise UsageError(
            f"{what} changed since {output.path(DATA)}/{name}.parquet was committed: take a new output folder"
        )
