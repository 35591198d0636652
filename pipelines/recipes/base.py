"""Defines what all recipes share. A recipe is what a run is asked to do, as typed options with documented defaults.

The options of each kind are in the other files of `pipelines.recipes`.

A recipe has two halves. Options that can alter a byte of the output are written to `OUT/recipe.yaml` and must be the
same when a run is resumed. `run` holds the others (workers, timeouts), which may differ from run to run.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, TypeVar

from pydantic import Field, PositiveInt

from schemas.errors import UsageError
from schemas.masking import mask_values
from schemas.output_set.options import Options, RecipePath
from schemas.output_set.recipe_file import dump_yaml, ensure_option_group, validate_options
from schemas.output_set.recipe_layers import read_merged_recipe
from schemas.output_set.recipe_paths import anchor_paths

TOKENIZER = "a tokenizer.json, its folder, or a name on the hub; default: tokens are not counted"


class RunOptions(Options):
    """Sets how a run is carried out; nothing here can alter its output."""

    output: RecipePath | None = Field(None, description="the output set's folder; --output on the command line")
    workers: PositiveInt | None = Field(None, description="worker processes; default: one per core")
    address: str | None = Field(None, description="a running Ray cluster; default: RAY_ADDRESS, else a local one")
    stall_seconds: float = Field(100.0, gt=0, description="seconds without progress after which the run stops")
    allow_damaged: bool = Field(False, description="exit 0 even if a shard is damaged")
    allow_download: bool = Field(False, description="allow a tokenizer by its name on the Hugging Face hub")


class Recipe(Options):
    """Provides what all recipes share."""

    kind: ClassVar[str]
    run: RunOptions = RunOptions()

    def resolve(self) -> dict[str, Any]:
        """Returns the half that can alter the output, as plain data; URLs' passwords and queries are masked."""
        return mask_values({"kind": self.kind} | self.model_dump(mode="json", exclude={"run"}))  # type: ignore[no-any-return]

    @classmethod
    def read_file(cls, path: str) -> dict[str, Any]:
        """Reads the recipe file `path` and its bases. Returns the values, with paths from the working folder.

        Raises `UsageError`.
        """
        return read_merged_recipe(path, cls.anchor_paths)

    @classmethod
    def anchor_paths(cls, values: dict[str, Any], path: str) -> dict[str, Any]:
        """Returns the values of the recipe file `path`, with paths from the working folder."""
        return anchor_paths(values, cls, path)

    def compute_sha256(self) -> str:
        """Returns the SHA-256 of that half, as YAML."""
        return hashlib.sha256(dump_yaml(self.resolve())).hexdigest()


R = TypeVar("R", bound=Recipe)


def load_recipe(model: type[R], path: str | None, stored: dict[str, Any] | None = None, **flags: Any) -> R:
    """Loads a recipe from a YAML file; flags that are not None override it.

    `stored` replaces the file by values already read: those of `model.read_file`, or a set's stored recipe. Raises
    `UsageError` for another kind, an unknown key or a wrong value.
    """
    values = model.read_file(path) if stored is None and path is not None else stored or {}
    if values.pop("kind", model.kind) != model.kind:
        raise UsageError(f"recipe {path or 'of that set'} is not of the kind {model.kind!r}")
    for keys, flag in _iterate_given(flags):
        group = ensure_option_group(values, keys)
        if keys[-1] == "engine" and group.get("engine") != flag:
            group.pop("settings", None)  # they belong to the other engine
        group[keys[-1]] = flag
    return validate_options(model, values, path)


def _iterate_given(flags: Mapping[str, Any], *above: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yields the path of keys and the value of each flag that is not None; nested dicts are groups of options."""
    for name, flag in flags.items():
        if isinstance(flag, dict):
            yield from _iterate_given(flag, *above, name)
        elif flag is not None:
            yield (*above, name), flag
