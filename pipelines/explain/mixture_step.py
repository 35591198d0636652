"""Finds the sample that a mixture has taken from one of its sources, by the mixture's plan."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from curation.mixture.planner import build_mixture_plan
from curation.mixture.shards import ShardRows
from curation.mixture.sources import SourceSet, read_index
from pipelines.explain.inputs import SetInputs
from pipelines.recipes.mix import MixRecipe
from pipelines.view.source import SetSource
from schemas.errors import UsageError
from schemas.output_set.recipe_file import RECIPE_FILE, validate_options
from schemas.storage.folder import Folder

KEPT = ("uid", "image_details", "characters")
"""Columns of the index that a mixture copies; its key, source and tokens are its own, and a document may hold an image.
"""


@dataclass(frozen=True, slots=True)
class SourceSample:
    """Names a sample of a source of a mixture."""

    source: str
    position: int  # in the mixture
    folder: Folder
    name: str  # of the output in the folder's set
    key: str


def find_source_sample(
    source: SetSource, inputs: SetInputs, name: str, number: int, row: Mapping[str, Any]
) -> SourceSample:
    """Returns where the sample in row `number` of the index of the mixture's output `name` is from.

    `row` is that row. Raises `UsageError` if a source is not what the mixture was made from.
    """
    recipe = _read_recipe(source, inputs)
    try:
        planned = build_mixture_plan(recipe, () if recipe.unit == "samples" else (recipe.unit,))
    except UsageError as error:
        raise UsageError(f"{source.folder.url}: {error}; if it was moved, pass --set SOURCE=FOLDER") from None
    recorded = [one.sha256 for one in source.manifests[name].inputs]
    for drawn_from in planned.sets:
        if any(revision.sha256 not in recorded for revision in drawn_from.revisions):
            raise UsageError(
                f"the source {drawn_from.name} has changed since {source.folder.url} was made from it: pass "
                f"--set {drawn_from.name}=FOLDER with the set that it was made from"
            )
    position = int(name) * recipe.samples_per_shard + number
    sources, samples = planned.plan.take(position, position + 1)
    found, drawn = _find_sample(planned.sets[int(sources[0])], int(samples[0]), position)
    if any(drawn[column] != row[column] for column in KEPT):
        fault = f"the plan of its recipe gives another sample at position {position}"
        raise UsageError(f"{source.folder.url}: {fault}: verify the set")
    return found


def _find_sample(source: SourceSet, sample: int, position: int) -> tuple[SourceSample, dict[str, Any]]:
    """Returns a sample of a source by its number, with its index row."""
    shards, rows = ShardRows([shard.data.rows for shard in source.shards]).find(np.array([sample]))
    shard = source.shards[int(shards[0])]
    row = read_index(shard, locating=False).slice(int(rows[0]), 1).to_pylist()[0]
    name = PurePosixPath(shard.data.path).stem
    return SourceSample(source.name, position, shard.folder, name, row["key"]), row


def _read_recipe(source: SetSource, inputs: SetInputs) -> MixRecipe:
    """Returns the stored recipe, with the folders that the user names in place of those that are stored."""
    stored: dict[str, Any] = {name: value for name, value in source.recipe.items() if name != "kind"}
    recipe = validate_options(MixRecipe, stored, source.folder.resolve_path(RECIPE_FILE))
    sources = {
        name: [inputs.resolve(name, "")] if inputs.is_given(name) else patterns
        for name, patterns in recipe.sources.items()
    }
    recorded = [one for manifest in source.manifests.values() for one in manifest.image_folders]
    return recipe.model_copy(update={"sources": sources, "images": recipe.images | inputs.find_places(recorded)})
