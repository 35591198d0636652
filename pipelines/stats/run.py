"""Collects the counts of an output set from its manifests, and the times of its runs from `stats.json`."""

from dataclasses import asdict
from typing import Any

from pipelines.mix.shares import summarise_mixture
from pipelines.output.totals import add_up_manifests, read_times
from pipelines.recipes.mix import MixRecipe
from pipelines.stats.matching import count_matching
from schemas.errors import UsageError
from schemas.output_set.layout import read_manifests
from schemas.output_set.recipe_file import RECIPE_FILE, read_stored_recipe
from schemas.output_set.unit_outputs import find_lost_outputs
from schemas.storage.folder import Folder


def collect_stats(output: str, where: str | None = None) -> dict[str, Any]:
    """Returns counts and times of an output set as plain data. Raises `UsageError` if the folder is not an output set.

    If outputs are lost, `missing` lists them, and the counts are those of the others. With a condition on rows, such as
    `width > 300`, `matching` is the number of rows that meet it.
    """
    folder = Folder(output)
    recipe = read_stored_recipe(folder)
    manifests = read_manifests(folder)
    result = add_up_manifests(manifests.values())
    found = {"kind": recipe.get("kind")} | result.to_dict() | {"times": asdict(read_times(folder))}
    if missing := find_lost_outputs(manifests, recipe.get("kind")):
        found["missing"] = missing
    if where is not None:
        found["matching"] = count_matching(folder, manifests.values(), where)
    if recipe.get("kind") == MixRecipe.kind:
        try:
            found["mixture"] = summarise_mixture(recipe, result.counts)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise UsageError(f"{folder.resolve_path(RECIPE_FILE)} is damaged: its mixture can't be read") from None
    return found
