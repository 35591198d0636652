"""An output folder is one recipe's: what is committed there must all be of the same settings."""

from pipelines.recipes.base import Recipe
from schemas.errors import UsageError
from schemas.masking import masked_values
from schemas.output_set.layout import committed
from schemas.output_set.recipe_file import RECIPE_FILE, differences, dump_yaml, held_recipe
from schemas.storage.folder import Folder

NAMED = 3  # differences between two recipes that a line tells of


def claim(output: Folder, recipe: Recipe) -> None:
    """Makes the folder this recipe's. Raises `UsageError` when it is another's."""
    if not holds_recipe(output, recipe):
        if output.exists(RECIPE_FILE):
            output.remove(RECIPE_FILE)  # it is damaged
        output.write_new(RECIPE_FILE, dump_yaml(recipe.resolved()))


def holds_recipe(output: Folder, recipe: Recipe) -> bool:
    """Whether the folder is this recipe's already; else it is free. Raises `UsageError` when it is another's.

    A recipe file that is lost or damaged is written anew where the manifests say that they are of this recipe.
    """
    if output.exists(RECIPE_FILE):
        try:
            held, asked = masked_values(held_recipe(output)), recipe.resolved()  # those of before may hold secrets
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
    """Says whether the folder holds outputs, all of which were made by this recipe."""
    recipes = {manifest.recipe_sha256 for manifest in committed(output).values()}
    return recipes == {recipe.sha256()}


def _a(kind: str) -> str:
    return f"{'an' if kind[:1] in 'aeiou' else 'a'} {kind}"
