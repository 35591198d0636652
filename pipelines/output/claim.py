"""Claims an output folder for one recipe, because all outputs in a set must have the same settings."""

from pipelines.recipes.base import Recipe
from schemas.errors import UsageError
from schemas.masking import masked_values
from schemas.output_set.layout import committed
from schemas.output_set.recipe_file import RECIPE_FILE, differences, dump_yaml, held_recipe
from schemas.storage.folder import Folder

NAMED = 3  # differences between two recipes that a message names


def claim(output: Folder, recipe: Recipe) -> None:
    """Writes the recipe into the folder, if it is not there. Raises `UsageError` when the folder has another recipe."""
    if not holds_recipe(output, recipe):
        if output.exists(RECIPE_FILE):
            output.remove(RECIPE_FILE)  # a damaged one
        output.write_new(RECIPE_FILE, dump_yaml(recipe.resolved()))


def holds_recipe(output: Folder, recipe: Recipe) -> bool:
    """Returns whether the folder has this recipe; if not, it is free. Raises `UsageError` when it has another one.

    A folder with a lost or damaged recipe file counts as free where all its manifests name this recipe.
    """
    if output.exists(RECIPE_FILE):
        try:
            held, asked = masked_values(held_recipe(output)), recipe.resolved()  # older recipe files may hold secrets
        except UsageError:
            if _is_made_by(output, recipe):
                return False
            raise
        if isinstance(kind := held.get("kind"), str) and kind != recipe.kind:
            raise UsageError(f"{output.url} is {_a(kind)} set, not {_a(recipe.kind)} set: take a new output folder")
        if found := differences(held, asked):
            more = [f"and {len(found) - NAMED} more"] if len(found) > NAMED else []
            differing = "; ".join(found[:NAMED] + more)
            raise UsageError(f"{output.url} holds another recipe ({differing}): take a new output folder")
        return True
    if not output.is_empty() and not _is_made_by(output, recipe):
        raise UsageError(f"{output.url} is not empty and holds no {RECIPE_FILE}: take a new output folder")
    return False


def _is_made_by(output: Folder, recipe: Recipe) -> bool:
    """Returns whether the folder has outputs and this recipe made all of them."""
    recipes = {manifest.recipe_sha256 for manifest in committed(output).values()}
    return recipes == {recipe.sha256()}


def _a(kind: str) -> str:
    return f"{'an' if kind[:1] in 'aeiou' else 'a'} {kind}"
