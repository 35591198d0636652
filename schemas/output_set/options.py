"""Defines what all typed options of recipes share."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

from schemas.output_set.recipe_paths import RelativeToRecipe

RecipePath = Annotated[str, RelativeToRecipe()]
"""A path or fsspec URL. In a recipe, a relative path is relative to the recipe's folder."""

PathOrName = Annotated[str, RelativeToRecipe(may_be_name=True)]
"""A path as above, or where there is nothing of that name, a model's name on the hub."""

Globs = Annotated[
    list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value), RelativeToRecipe()
]
"""One glob or a list of globs, of paths as above."""


class Options(BaseModel):
    """Holds options of a recipe. Unknown keys are refused by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)
