"""Makes the relative paths of a recipe file relative to that file, as a command that reads it needs them.

Paths on the command line stay relative to the working folder.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class RelativeToRecipe:
    """Marks an option that holds a path, or several, in the annotation of its type."""

    may_be_name: bool = False  # of a model on the hub: a path only if that file or folder exists
    keys: tuple[str, ...] = ()  # where the option is a mapping: the keys that hold paths


def anchor_paths(values: dict[str, Any], model: type[BaseModel], recipe: str) -> dict[str, Any]:
    """Returns a recipe's values with paths from the working folder in place of paths from the recipe's own folder.

    `values` is what the file or URL `recipe` holds, not validated yet: what is of a wrong type stays as it is.
    """
    folder = recipe.rpartition("/")[0]
    if not folder:
        return values
    return _anchor_options(values, model, folder)


def _anchor_options(values: dict[str, Any], model: type[BaseModel], folder: str) -> dict[str, Any]:
    anchored = dict(values)
    for name, field in model.model_fields.items():
        if name in values:
            kind = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
            anchored[name] = _anchor(values[name], kind, folder)
    return anchored


def _anchor(value: Any, kind: Any, folder: str) -> Any:
    """Returns the value of this type with its paths anchored; `kind` is the type as it is annotated."""
    if get_origin(kind) is Annotated:
        inner, *metadata = get_args(kind)
        mark = next((one for one in metadata if isinstance(one, RelativeToRecipe)), None)
        return _anchor(value, inner, folder) if mark is None else _anchor_marked(value, mark, folder)
    if get_origin(kind) in (Union, UnionType):
        for inner in get_args(kind):
            value = _anchor(value, inner, folder)
        return value
    if get_origin(kind) is dict and isinstance(value, dict):
        return {key: _anchor(inner, get_args(kind)[1], folder) for key, inner in value.items()}
    if isinstance(kind, type) and issubclass(kind, BaseModel) and isinstance(value, dict):
        return _anchor_options(value, kind, folder)
    return value


def _anchor_marked(value: Any, mark: RelativeToRecipe, folder: str) -> Any:
    if isinstance(value, list):
        return [_anchor_marked(one, mark, folder) for one in value]
    if isinstance(value, dict) and mark.keys:
        return {key: _anchor_marked(one, mark, folder) if key in mark.keys else one for key, one in value.items()}
    return _anchor_path(value, mark, folder) if isinstance(value, str) else value


def _anchor_path(path: str, mark: RelativeToRecipe, folder: str) -> str:
    if "://" in path or Path(path).is_absolute():
        return path
    if "://" in folder:
        return path if mark.may_be_name else f"{folder}/{path}"
    anchored = os.path.normpath(Path(folder) / path)  # an existing folder is no pattern
    return anchored if not mark.may_be_name or Path(anchored).exists() else path
