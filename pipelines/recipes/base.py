"""Recipes: what a run is asked to do, as typed options with the reason for each default.

Each kind's own stand in `pipelines.recipes`.

A recipe has two halves. What can alter a byte of the output is written to `OUT/recipe.yaml` and must be the same when a
run is taken up again; `run` holds what can't (workers, patience) and may differ every time.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, TypeVar

from pydantic import Field, PositiveInt

from schemas.errors import UsageError
from schemas.masking import masked_values
from schemas.output_set.options import Options
from schemas.output_set.recipe_file import dump_yaml, option_group, read_recipe, validated

TOKENIZER = "a tokenizer.json, its folder, or a name on the hub; without it tokens are not counted"


class RunOptions(Options):
    """How a run is carried out; nothing here can alter its output."""

    output: str | None = Field(None, description="the output set's folder; --output on the command line")
    workers: PositiveInt | None = Field(None, description="processes that do the work; default: one a core")
    address: str | None = Field(
        None, description="a running Ray cluster; default: RAY_ADDRESS, else a cluster of our own"
    )
    stall_seconds: float = Field(100.0, gt=0, description="no sign of life for so long ends the run: under two minutes")
    allow_damaged: bool = Field(False, description="exit 0 although a shard was damaged")
    allow_download: bool = Field(False, description="a tokenizer may be a name on the Hugging Face hub")


class Recipe(Options):
    """What every recipe has."""

    kind: ClassVar[str]
    run: RunOptions = RunOptions()

    def resolved(self) -> dict[str, Any]:
        """The half that can alter the output, as plain data. No URL's password or query is in it: it is stored."""
        return masked_values({"kind": self.kind} | self.model_dump(mode="json", exclude={"run"}))  # type: ignore[no-any-return]

    def sha256(self) -> str:
        """Hash of that half."""
        return hashlib.sha256(dump_yaml(self.resolved())).hexdigest()


R = TypeVar("R", bound=Recipe)


def load_recipe(model: type[R], path: str | None, held: dict[str, Any] | None = None, **flags: Any) -> R:
    """The recipe in a YAML file, with the flags that are not None laid over it.

    `held` are values that were read already: those of the file, or those that an output set holds.
    """
    values = read_recipe(path) if held is None and path is not None else held or {}
    if values.pop("kind", model.kind) != model.kind:
        raise UsageError(f"recipe {path or 'of that set'} is not of the kind {model.kind!r}")
    for keys, flag in _given(flags):
        group = option_group(values, keys)
        if keys[-1] == "engine" and group.get("engine") != flag:
            group.pop("settings", None)  # they are the other engine's
        group[keys[-1]] = flag
    return validated(model, values, path)


def _given(flags: Mapping[str, Any], *above: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yields the path of keys and the value of each flag that is not None; nested ones lie in groups of options."""
    for name, flag in flags.items():
        if isinstance(flag, dict):
            yield from _given(flag, *above, name)
        elif flag is not None:
            yield (*above, name), flag
