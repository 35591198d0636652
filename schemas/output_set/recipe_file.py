"""Reads recipe files: YAML that becomes typed options, or a one-line error that names the fault."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from schemas.errors import StorageError, UsageError, to_one_line
from schemas.masking import mask_secrets
from schemas.storage.folder import Folder, split_path
from schemas.strict_yaml import RefusedYaml, load_yaml

RECIPE_FILE = "recipe.yaml"  # the file of an output set with the recipe that made it
MAX_SHOWN = 80  # characters of a wrong value in an error, which is one line
MAX_MESSAGE = 600  # characters of a message about a wrong value
MAX_FAULTS = 20  # faulty fields that one error names
MAX_RECIPE = 16 << 20  # bytes; the longest, with thousands of sources, have a few hundred kilobytes
UNION_TYPES = {"str": "a text", "int": "a whole number", "float": "a number", "bool": "true or false"}
"""What pydantic puts after the place of a fault if a field may have several types."""

M = TypeVar("M", bound=BaseModel)


class MissingOptions(UsageError):
    """Reports options that are nowhere given; `names` are theirs. A command says what to type."""

    def __init__(self, names: list[str]) -> None:
        super().__init__("recipe: " + "; ".join(f"{name}: field required" for name in names))
        self.names = names


def validate_options(model: type[M], values: dict[str, Any], path: str | None, what: str = "recipe") -> M:
    """Converts a recipe's values to typed options. Raises `UsageError` naming the faulty fields, up to `MAX_FAULTS`.

    `what` names the kind of file in messages.
    Without a recipe file, raises `MissingOptions` where fields are missing and nothing else is wrong.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        found = _join_unions([dict(fault) for fault in error.errors()])
        if path is None and all(fault["type"] == "missing" for fault in found):
            raise MissingOptions([".".join(map(str, fault["loc"])) for fault in found]) from None
        faults = [_describe_fault(fault) for fault in found[:MAX_FAULTS]]
        faults += [f"and {len(found) - MAX_FAULTS:,} more"] if len(found) > MAX_FAULTS else []
        raise UsageError(f"{what}{' ' + path if path else ''}: {'; '.join(faults)}") from None


def read_recipe(path: str) -> dict[str, Any]:
    """Reads a YAML file, local or at a URL. Raises `UsageError` if it can't be read or is not a mapping."""
    try:
        if "://" in path:
            folder, name = split_path(path)
            values = load_yaml(folder.read(name))
        else:
            values = load_yaml(Path(path).read_text())
    except StorageError as error:
        raise UsageError(f"recipe: {error}") from None
    except OSError as error:
        raise UsageError(f"cannot read recipe {path}: {error.strerror}") from None
    except RefusedYaml as error:
        raise UsageError(f"recipe {path}, {error}") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: undecodable text, an impossible date
        raise UsageError(f"recipe {path} is not valid YAML: {to_one_line(error)}") from None
    if not isinstance(values, dict | None):
        raise UsageError(f"recipe {path} is not a mapping")
    return values or {}


def read_stored_recipe(output: Folder) -> dict[str, Any]:
    """Returns the stored recipe of an output set.

    Raises `UsageError` if the folder is not an output set, or its recipe is damaged.
    """
    if not output.exists(RECIPE_FILE):
        raise UsageError(f"{output.url} is not an output set: it has no {RECIPE_FILE}")
    text = output.read_inside(RECIPE_FILE, MAX_RECIPE)
    try:
        stored = load_yaml(text)
    except (yaml.YAMLError, ValueError):
        stored = None
    if not isinstance(stored, dict):
        raise UsageError(f"{output.resolve_path(RECIPE_FILE)} is damaged: it is not a YAML mapping")
    return stored


def dump_yaml(values: dict[str, Any]) -> bytes:
    """Returns YAML that keeps the order of keys."""
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True).encode()


def ensure_option_group(values: dict[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """Returns the mapping that holds the option at a path of keys, for a caller that overrides the option.

    Changes `values`: creates missing or empty groups, and replaces the groups on the path by copies, so that an
    override does not change a group that other mappings share. Raises `UsageError` if a group on the path is a plain
    value.
    """
    group = values
    for depth, name in enumerate(keys[:-1], 1):
        below = group.get(name)
        if not isinstance(below, dict | None):
            raise UsageError(f"recipe: {'.'.join(keys[:depth])}: input should be a mapping, not {format_value(below)}")
        below = group[name] = dict(below or {})
        group = below
    return group


def apply_override(values: dict[str, Any], override: str) -> None:
    """Sets an option from `key=value`: a dotted key and a YAML value. Raises `UsageError` for any other form."""
    key, equals, text = override.partition("=")
    if not equals or not all(key.split(".")):
        raise UsageError(f"{format_value(override)} is not key=value, such as run.workers=4")
    try:
        value = load_yaml(text)
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{key}: {format_value(text)} is not valid YAML: {to_one_line(error)}") from None
    keys = key.split(".")
    ensure_option_group(values, keys)[keys[-1]] = value


def compare_recipes(stored: Any, requested: Any, ignored_names: Collection[str] = (), name: str = "") -> list[str]:
    """Names each option that differs between two recipes, with both values.

    `ignored_names` holds dotted names of options and groups that may differ. `name` is the dotted name of the compared
    group.
    """
    if name in ignored_names:
        return []
    if isinstance(stored, dict) and isinstance(requested, dict):
        below = [(key, f"{name}.{key}".lstrip(".")) for key in dict.fromkeys([*stored, *requested])]
        return [
            line
            for key, inner in below
            for line in compare_recipes(stored.get(key), requested.get(key), ignored_names, inner)
        ]
    return [] if stored == requested else [f"{name} is {format_value(stored)} there and {format_value(requested)} here"]


def _join_unions(faults: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Makes one fault of those that pydantic reports for a value of several types, one for each type."""
    joined: list[dict[str, Any]] = []
    for fault in faults:
        *place, kind = fault["loc"] or ("",)
        if kind not in UNION_TYPES:
            joined.append(fault)
        elif joined and joined[-1]["type"] == "union" and joined[-1]["loc"] == tuple(place):
            joined[-1]["msg"] += f" or {UNION_TYPES[kind]}"
        else:
            message = f"input should be {UNION_TYPES[kind]}"
            joined.append(fault | {"loc": tuple(place), "msg": message, "type": "union"})
    return joined


def _describe_fault(fault: dict[str, Any]) -> str:
    *path, last = [str(name) if len(str(name)) <= MAX_SHOWN else f"{name[:MAX_SHOWN]}..." for name in fault["loc"]] or [
        ""
    ]
    if last == "[key]":  # an unknown key of a mapping with fixed keys
        return f"unknown key {'.'.join(path)}: use {fault['ctx'].get('expected') or fault['ctx']['error']}"
    where = ".".join([*path, last])
    if fault["type"] == "extra_forbidden":
        return f"unknown key {where}"
    if fault["type"] == "missing":
        return f"{where}: {fault['msg'].lower()}"
    if fault["type"] == "too_short":  # in recipes, every minimum length is 1
        return f"{where} is empty"
    if fault["type"] == "value_error":  # raised by Shardloom's own validators
        return f"{where}: {shorten(str(fault['ctx']['error']))}"
    wanted = "input should be a mapping" if fault["type"] in ("model_type", "dict_type") else fault["msg"].lower()
    return f"{where}: {wanted}, not {format_value(fault['input'])}"


def format_value(value: Any) -> str:
    """Returns a value for an error message: on one line, and shortened if it is long."""
    try:
        found = mask_secrets(repr(value))  # masked first: half a secret is not found
    except ValueError:  # Python prints no whole number of more than 4,300 digits
        return "a number that is too long"
    return found if len(found) <= MAX_SHOWN else f"{found[:MAX_SHOWN]}..."


def shorten(message: str) -> str:
    """Returns a message that may quote a long value with its middle left out: the remedy is at the end."""
    if len(message) <= MAX_MESSAGE:
        return message
    return f"{mask_secrets(message)[: MAX_MESSAGE // 2]}...{message[-MAX_MESSAGE // 2 :]}"
