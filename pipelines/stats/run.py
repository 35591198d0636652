"""Counts and timings of runs: added up while they go, kept in `stats.json`, printed by `shardloom stats`."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pipelines.mix.shares import mixture
from pipelines.output.totals import read_times, totals
from pipelines.recipes.mix import MixRecipe
from schemas.output_set.recipe_file import held_recipe
from schemas.storage.folder import Folder

if TYPE_CHECKING:
    pass


def stats(output: str) -> dict[str, Any]:
    """Counts and times of an output set as plain data. Raises `UsageError` when the folder is none."""
    folder = Folder(output)
    recipe = held_recipe(folder)
    result = totals(folder)
    found = {"kind": recipe.get("kind")} | result.to_dict() | {"times": asdict(read_times(folder))}
    return found | ({"mixture": mixture(recipe, result.counts)} if recipe.get("kind") == MixRecipe.kind else {})
