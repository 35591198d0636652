"""Reads a recipe file and the files that it is based on, and merges them into one recipe.

`base: FILE` names another recipe file, relative to the file that names it. The recipe is laid on top of its base:

- mappings merge key by key, however deep;
- lists, texts, numbers and null replace what the base has: null is a value, as in `steps: null` and `repeats: {html:
  null}`, and removes nothing;
- a mapping whose `kind` is not that of the base replaces it whole, since its options are others (`connector`);
- `without: [data.sources.kale, data.weights.kale]` removes keys of the base before the two are merged.

A base may have a base. What a command stores is the merged recipe, which has neither key.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import UsageError
from schemas.output_set.recipe_file import format_value, read_recipe

MAX_BASES = 16
"""Limits the files below a recipe; those that ship have three."""

BASE, WITHOUT = "base", "without"

_SHARED = ("kind", "family")
"""Keys that say which other keys there are. A recipe has those of its base."""


@dataclass(frozen=True, slots=True)
class RecipeLayer:
    """Holds what one file says, without `base` and `without`."""

    path: str
    values: dict[str, Any]
    without: tuple[str, ...] = ()  # dotted names of keys to remove from the layers below


def read_merged_recipe(path: str, anchor: Callable[[dict[str, Any], str], dict[str, Any]]) -> dict[str, Any]:
    """Reads a recipe file with its bases and returns the merged values.

    `anchor` is given the values and the path of each file, and returns the values with paths from the working folder.
    Raises `UsageError`, which names the file.
    """
    layers = read_layers(path)
    return merge_layers([RecipeLayer(layer.path, anchor(layer.values, layer.path), layer.without) for layer in layers])


def read_layers(path: str) -> list[RecipeLayer]:
    """Returns the layers of a recipe file, the lowest base first. Raises `UsageError`, which names the file."""
    layers: list[RecipeLayer] = []
    seen: list[str] = []
    following: str | None = path
    while following is not None:
        if (place := _resolve_path(following)) in seen:
            raise UsageError(f"recipe {path}: base: {' -> '.join([*seen[seen.index(place) :], place])} is a circle")
        if len(seen) > MAX_BASES:
            raise UsageError(f"recipe {path}: base: over {MAX_BASES} files below one another")
        seen.append(place)
        values = read_recipe(following)
        base, without = values.pop(BASE, None), values.pop(WITHOUT, None)
        layers.append(RecipeLayer(following, values, _check_without(without, base, following)))
        following = None if base is None else _find_base(base, following)
    return _share_kinds(layers[::-1])


def merge_layers(layers: Sequence[RecipeLayer]) -> dict[str, Any]:
    """Merges layers, the lowest first. Raises `UsageError` for a key to remove that is not below."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for name in layer.without:
            merged = _remove_key(merged, name, layer.path)
        merged = _merge(merged, layer.values)
    return merged


def _merge(below: Any, above: Any) -> Any:
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    if below and "kind" in above and above["kind"] != below.get("kind"):
        return above
    return below | {key: _merge(below[key], value) if key in below else value for key, value in above.items()}


def _remove_key(values: Mapping[str, Any], name: str, path: str) -> dict[str, Any]:
    """Returns the values without the key of this dotted name; mappings on the way are copied."""
    first, _, rest = name.partition(".")
    held = values.get(first)
    if first not in values or (rest and not isinstance(held, dict)):
        raise UsageError(f"recipe {path}: without: the base has no {name}")
    if not rest:
        return {key: value for key, value in values.items() if key != first}
    try:
        return {**values, first: _remove_key(held or {}, rest, path)}
    except UsageError:
        raise UsageError(f"recipe {path}: without: the base has no {name}") from None


def _share_kinds(layers: list[RecipeLayer]) -> list[RecipeLayer]:
    """Returns the layers, each with the `_SHARED` keys of the one below. Raises `UsageError` where the kinds differ."""
    shared: dict[str, Any] = {}
    found: list[RecipeLayer] = []
    for layer in layers:
        kind, below = layer.values.get("kind"), shared.get("kind")
        if None not in (kind, below) and kind != below:
            raise UsageError(
                f"recipe {layer.path} is of the kind {format_value(kind)}, and its base {found[-1].path} of the kind "
                f"{format_value(below)}"
            )
        shared |= {name: layer.values[name] for name in _SHARED if name in layer.values}
        found.append(RecipeLayer(layer.path, shared | layer.values, layer.without))
    return found


def _check_without(without: Any, base: Any, path: str) -> tuple[str, ...]:
    if without is None:
        return ()
    if base is None:
        raise UsageError(f"recipe {path}: without removes keys of a base, and there is none: leave it out")
    if not isinstance(without, list) or not all(isinstance(name, str) and name for name in without):
        raise UsageError(
            f"recipe {path}: without: input should be a list of keys such as data.sources.kale, not "
            f"{format_value(without)}"
        )
    return tuple(without)


def _find_base(base: Any, path: str) -> str:
    """Returns the path of the base that the recipe at `path` names. Raises `UsageError` if it is no file."""
    if not isinstance(base, str) or not base:
        raise UsageError(f"recipe {path}: base: input should be the path of a recipe, not {format_value(base)}")
    folder = path.rpartition("/")[0]
    if "://" in path:
        if "://" in base or base.startswith("/") or ".." in base.split("/"):
            raise UsageError(f"recipe {path}: base: {format_value(base)} is not in the recipe's folder at that URL")
        return f"{folder}/{base}"
    if "://" in base:
        return base
    place = os.path.normpath(Path(folder) / base)
    if not Path(place).is_file():  # a folder, a device, or nothing
        raise UsageError(f"recipe {path}: base: there is no file {place}")
    return place


def _resolve_path(path: str) -> str:
    return path if "://" in path else os.path.realpath(path)
