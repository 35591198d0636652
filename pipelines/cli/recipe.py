"""`shardloom recipe`: what a recipe may say, and what one says."""

import importlib
import os
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.cli.commands import HELP
from schemas.errors import ShardloomError, UsageError
from schemas.masking import mask_values
from schemas.output_set.recipe_file import apply_override, dump_yaml, validate_options
from schemas.output_set.recipe_layers import merge_layers, read_layers
from schemas.terminal import print_json, print_result

SHIPPED = Path(__file__).parents[2] / "recipes"

MODELS = {
    "select": "pipelines.recipes.select:SelectRecipe",
    "download": "pipelines.recipes.download:DownloadRecipe",
    "annotate": "pipelines.recipes.annotate:AnnotateRecipe",
    "render": "pipelines.recipes.render:RenderRecipe",
    "shard": "pipelines.recipes.shard:ShardRecipe",
    "ingest": "pipelines.recipes.ingest:IngestRecipe",
    "mix": "pipelines.recipes.mix:MixRecipe",
    "train": "training.recipe:TrainRecipe",
    "task": "curation.tasks.options:TaskOptions",
    "tasks": "curation.tasks.options:TaskListOptions",
}
"""Where the options of each kind are: imported when they are asked for, because some import torch."""

Kind = Annotated[str, typer.Argument(metavar="KIND", help=", ".join(MODELS))]
RecipePath = Annotated[str, typer.Argument(metavar="RECIPE", help="a YAML recipe: a path or a URL")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="key=value", help="override an option, for example input='images/*.tar'")
]

recipe = typer.Typer(
    help="Print what recipes may hold, check one, or copy one that ships.",
    no_args_is_help=True,
    context_settings=HELP,
)


@recipe.command(epilog="Example: shardloom recipe schema annotate > annotate.schema.json")
def schema(kind: Kind) -> None:
    """Print the JSON Schema of a kind of recipe, with the reason for each default. Editors check and complete by it."""
    print_json(find_model(kind).model_json_schema())


@recipe.command(epilog="Example: shardloom recipe show annotate.yaml input='images/*.tar'")
def show(path: RecipePath, overrides: Overrides = None) -> None:
    """Print a recipe with all options, those at their default too, as YAML."""
    found = load(path, overrides)
    options = {"kind": found.kind} | mask_values(found.model_dump(mode="json"))
    for line in dump_yaml(options).decode().splitlines():
        print_result(line)


@recipe.command(epilog="Example: shardloom recipe check mixture.yaml")
def check(path: RecipePath, overrides: Overrides = None) -> None:
    """Check a recipe's keys and values without running it. Exits 2 and names what is wrong."""
    print_result(f"{path}: a valid recipe of the kind {load(path, overrides).kind}")


@recipe.command(epilog="Example: shardloom recipe copy train/tiny")
def copy(
    name: Annotated[str | None, typer.Argument(help="a recipe that ships; without it they are listed")] = None,
    folder: Annotated[str, typer.Option("--output", "-o", metavar="FOLDER", help="where to")] = ".",
) -> None:
    """Copy a recipe that ships into the working folder to be changed there, with its bases and the files they name."""
    shipped = find_shipped()
    if name is None:
        for known, path in shipped.items():
            print_result(f"{known:44}{first_comment(path)}")
        return
    wanted = name.removesuffix(".yaml")
    if wanted not in shipped:
        raise UsageError(f"Shardloom ships no recipe {name!r}: use one of {', '.join(shipped)}")
    for path in copy_shipped(shipped[wanted], Path(folder)):
        print_result(str(path))


def find_model(kind: str) -> Any:
    """Returns the class of a kind's options. Raises `UsageError`."""
    if kind not in MODELS:
        raise UsageError(f"no recipe is of the kind {kind!r}: use one of {', '.join(MODELS)}")
    module, _, name = MODELS[kind].partition(":")
    return getattr(importlib.import_module(module), name)


def load(path: str, overrides: list[str] | None) -> Any:
    """Returns a recipe's options, by the kind that it names, with overrides applied. Raises `UsageError`."""
    kind = merge_layers(read_layers(path)).get("kind")
    if kind is None:
        raise UsageError(f"recipe {path} names no kind: add `kind: KIND`, one of {', '.join(MODELS)}")
    if kind == "train":  # the trainer has a loader of its own, for it may not import `pipelines`
        from training.recipe import load_train_recipe

        return load_train_recipe(path, overrides)
    model = find_model(str(kind))
    values = {key: value for key, value in model.read_file(path).items() if key != "kind"}
    for override in overrides or ():
        apply_override(values, override)
    return validate_options(model, values, path)


def find_shipped() -> dict[str, Path]:
    """Returns the recipes that ship, by name: the path in their folder without its ending."""
    return {str(path.relative_to(SHIPPED).with_suffix("")): path for path in sorted(SHIPPED.rglob("*.yaml"))}


def first_comment(path: Path) -> str:
    """Returns the first line of a recipe, which says what it is."""
    return path.read_text().partition("\n")[0].lstrip("# ")


def find_named_files(value: Any, folder: Path) -> list[Path]:
    """Returns the files below the recipe's folder that its values name, such as prompts."""
    if isinstance(value, dict | list):
        items = value.values() if isinstance(value, dict) else value
        return [file for item in items for file in find_named_files(item, folder)]
    return [folder / value] if isinstance(value, str) and (folder / value).is_file() else []


def copy_shipped(path: Path, target: Path) -> list[Path]:
    """Copies a recipe, its bases and the files that they name. Returns the new files.

    The copies have the same places among one another. Recipes share such files: one that already exists is kept, as it
    may have been changed. Raises `UsageError` if the recipe itself exists.
    """
    layers = read_layers(str(path))
    top = os.path.commonpath([Path(layer.path).parent for layer in layers])
    if (own := target / path.relative_to(top)).exists():
        raise UsageError(f"{own} already exists: remove it, or pass another --output")
    bases = [Path(layer.path) for layer in layers[-2::-1]]
    named = {file for layer in layers for file in find_named_files(layer.values, Path(layer.path).parent)}
    sources = [file for file in (path, *bases, *sorted(named)) if not (target / file.relative_to(top)).exists()]
    copies = [target / source.relative_to(top) for source in sources]
    try:
        for source, copy in zip(sources, copies, strict=True):
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)
    except OSError as error:
        raise ShardloomError(f"cannot write to {target}: {error.strerror}") from None
    return copies
