"""Claims an output folder for one recipe, because all outputs in a set must have the same settings."""

from pipelines.recipes.base import Recipe
from schemas.errors import UsageError
from schemas.masking import mask_values
from schemas.output_set.layout import CARD, read_manifests
from schemas.output_set.recipe_file import RECIPE_FILE, compare_recipes, dump_yaml, read_stored_recipe
from schemas.storage.folder import AlreadyWritten, Folder

MAX_DIFFERENCES = 3  # differences between two recipes that a message names


def claim(output: Folder, recipe: Recipe) -> None:
    """Writes the recipe into the folder, if it is not there. Raises `UsageError` when the folder has another recipe."""
    if not is_claimed(output, recipe):
        if output.exists(RECIPE_FILE) and is_made_by(output, recipe):  # else another run has just written it
            output.remove(RECIPE_FILE)  # a damaged one
        try:
            output.write_new(RECIPE_FILE, dump_yaml(recipe.resolve()))
        except AlreadyWritten:  # by a run that shares the folder
            _check_same(output, recipe)


def is_claimed(output: Folder, recipe: Recipe) -> bool:
    """Returns whether the folder has this recipe; if not, it is free. Raises `UsageError` when it has another one.

    A folder with a lost or damaged recipe file counts as free where all its manifests name this recipe, and so does one
    with nothing but a dataset card, which a person has written. (A part of a recipe is still YAML, and looks like
    another recipe.)
    """
    if output.exists(RECIPE_FILE) or not _is_free(output, recipe):
        try:
            _check_same(output, recipe)
        except UsageError:
            if is_made_by(output, recipe):
                return False
            raise
        is_whole = output.read(RECIPE_FILE) == dump_yaml(recipe.resolve())
        return is_whole or not is_made_by(output, recipe)
    return False


def _is_free(output: Folder, recipe: Recipe) -> bool:
    """Returns whether a folder in which no recipe was found is free; False if another run has written one meanwhile.

    Raises `UsageError` for a folder that holds something else.
    """
    if output.is_empty(ignored=CARD) or is_made_by(output, recipe):
        return True
    if output.exists(RECIPE_FILE):
        return False
    raise UsageError(f"{output.url} is not empty and holds no {RECIPE_FILE}: use a new output folder")


def _check_same(output: Folder, recipe: Recipe) -> None:
    """Raises `UsageError` if the stored recipe is not this one, or can't be read."""
    stored = mask_values(read_stored_recipe(output))  # those of older versions may hold secrets
    if isinstance(kind := stored.get("kind"), str) and kind != recipe.kind:
        raise UsageError(
            f"{output.url} is {_with_article(kind)} set, not {_with_article(recipe.kind)} set: use a new output folder"
        )
    if found := compare_recipes(stored, recipe.resolve()):
        more = [f"and {len(found) - MAX_DIFFERENCES} more"] if len(found) > MAX_DIFFERENCES else []
        differing = "; ".join(found[:MAX_DIFFERENCES] + more)
        raise UsageError(f"{output.url} holds another recipe ({differing}): use a new output folder")


def is_made_by(output: Folder, recipe: Recipe) -> bool:
    """Returns whether the folder has outputs and this recipe made all of them."""
    recipes = {manifest.recipe_sha256 for manifest in read_manifests(output).values()}
    return recipes == {recipe.compute_sha256()}


def _with_article(kind: str) -> str:
    return f"{'an' if kind[:1] in 'aeiou' else 'a'} {kind}"
