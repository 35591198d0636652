"""Settles the settings of a recipe's engines that are younger than some sets: the `implied_settings` of an engine.

It adds the hashes of prompts, too.

A new set stores them always, since their defaults differ from what the older sets imply. An older set keeps the recipe
that it stores, whose hash is in its manifests.
"""

from collections.abc import Collection, Mapping
from typing import Any

from curation.engines.registry import find_engine
from curation.engines.stages import StageName
from pipelines.annotate.captions.prompts import settle_prompts
from pipelines.annotate.reuse import read_set_recipe
from pipelines.engines.loader import add_implied_settings
from pipelines.output.claim import is_made_by
from pipelines.recipes.annotate import AnnotateRecipe, EngineOptions
from pipelines.recipes.base import load_recipe
from schemas.errors import UsageError
from schemas.output_set.recipe_file import read_stored_recipe
from schemas.storage.folder import Folder


def settle_settings(recipe: AnnotateRecipe, output: Folder) -> AnnotateRecipe:
    """Returns the recipe with all settings that a new set stores, or as the older set in `output` stores it.

    A setting that the recipe lacks is that of the annotations to reuse, or else the engine's default. Raises
    `UsageError` for another value than an older set implies.
    """
    recipe = settle_prompts(recipe)
    stored = _read_stored_engines(recipe, output)
    reuse = recipe.run.reuse
    reused = (
        {} if reuse is None else load_recipe(AnnotateRecipe, None, read_set_recipe(Folder(reuse))).engines.list_stages()
    )
    engines = {}
    for stage, options in recipe.engines.list_stages().items():
        implied = find_engine(stage, options.engine).implied_settings
        older = {name: implied[name] for name in implied if stage in stored and name not in stored[stage].settings}
        for name, value in older.items():
            if (here := options.settings.get(name, value)) != value:
                raise UsageError(
                    f"{output.url} holds another recipe (engines.{stage}.settings.{name} is {value!r} there and "
                    f"{here!r} here): set it to {value!r}, or take a new output folder"
                )
        engines[stage] = _drop_settings(_add_defaults(stage, options, reused.get(stage)), older)
    return recipe.model_copy(update={"engines": recipe.engines.replace_stages(engines)})


def _add_defaults(stage: StageName, options: EngineOptions, reused: EngineOptions | None) -> EngineOptions:
    """Returns the options with the settings that they lack and a new set stores."""
    declaration = find_engine(stage, options.engine)
    missing = [name for name in declaration.implied_settings if name not in options.settings]
    if reused is not None and reused.engine == options.engine:
        earlier = add_implied_settings(stage, reused).settings
        same = _add_settings(options, {name: earlier[name] for name in missing})
        if same == _add_settings(reused, earlier):
            return same
    fields = declaration.settings.model_fields
    return _add_settings(options, {name: fields[name].get_default(call_default_factory=True) for name in missing})


def _read_stored_engines(recipe: AnnotateRecipe, output: Folder) -> Mapping[StageName, EngineOptions]:
    """Returns the engines of the set's recipe. Where that is lost, its hash tells whether the set is an older one."""
    try:
        return load_recipe(AnnotateRecipe, None, read_stored_recipe(output)).engines.list_stages()
    except UsageError:
        engines = {
            stage: _drop_settings(options, find_engine(stage, options.engine).implied_settings)
            for stage, options in recipe.engines.list_stages().items()
        }
        older = recipe.model_copy(update={"engines": recipe.engines.replace_stages(engines)})
        return engines if is_made_by(output, older) else {}


def _add_settings(options: EngineOptions, settings: Mapping[str, Any]) -> EngineOptions:
    return options.model_copy(update={"settings": {**options.settings, **settings}})


def _drop_settings(options: EngineOptions, names: Collection[str]) -> EngineOptions:
    kept = {name: value for name, value in options.settings.items() if name not in names}
    return options.model_copy(update={"settings": kept})
