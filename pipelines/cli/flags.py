"""Defines what commands share: flags, checks of paths, and the final report."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.output.totals import Totals, check_not_empty
from pipelines.recipes.base import Recipe
from schemas.errors import UsageError
from schemas.terminal import print_json, print_result

NOTHING_DONE = "nothing was done, because all of it was there already"

JOB_FOLDER = "/runtime_resources/working_dir_files/"  # where Ray puts the copy of a job's --working-dir

Output = Annotated[str | None, typer.Option("--output", "-o", help="the output set's folder: a path or fsspec URL")]
Workers = Annotated[int | None, typer.Option(help="worker processes; default: one per core")]
Address = Annotated[str | None, typer.Option(help="a running Ray cluster; default: RAY_ADDRESS, else a local one")]
AllowDamaged = Annotated[bool | None, typer.Option("--allow-damaged", help="exit 0 even if an input is damaged")]
Tokenizer = Annotated[
    str | None, typer.Option(help="count tokens with this tokenizer.json, its folder, or a name on the hub")
]
AllowDownload = Annotated[
    bool | None, typer.Option("--allow-download", help="allow a tokenizer by its name on the Hugging Face hub")
]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]
TrustCode = Annotated[
    list[str] | None,
    typer.Option("--trust-code", metavar="MODULE:NAME", help="your own code to import and run; may be repeated"),
]
MovedImages = Annotated[
    list[str] | None,
    typer.Option(
        "--images",
        metavar="[OLD=]NEW",
        help="of a set by reference: the present folder of image tars that were moved; may be repeated",
    ),
]
Limit = Annotated[int | None, typer.Option(metavar="N", help="work on the first N rows of the input alone")]
Sample = Annotated[int | None, typer.Option(metavar="N", help="work on N rows of the input, drawn uniformly by --seed")]
Seed = Annotated[int | None, typer.Option(help="of --sample; default: 0")]
Where = Annotated[
    str | None,
    typer.Option(metavar="SQL", help="work on rows for which this condition is true, such as 'width > 300'"),
]
RecipeFile = Annotated[str | None, typer.Option("--recipe", "-r", help="a YAML recipe; flags override it")]


def build_run_options(
    output: str | None, workers: int | None, address: str | None, allow_damaged: bool | None
) -> dict[str, Any]:
    """Returns the flags that every run has, as the recipe's `run`; None stands for a flag not given."""
    return {"output": output, "workers": workers, "address": address, "allow_damaged": allow_damaged}


def parse_named_folders(option: str, values: list[str] | None) -> dict[str, Any]:
    """Parses an option given as NAME=FOLDER. Returns a list of folders by name. Raises `UsageError`."""
    named: dict[str, Any] = {}
    for value in values or []:
        name, _, folder = value.partition("=")
        if not name or not folder:
            raise UsageError(f"{option}: {value!r} is not NAME=FOLDER")
        named.setdefault(name, []).append(folder)
    return named


def resolve_output(recipe: Recipe) -> str:
    """Returns the output set's folder. Raises `UsageError` if it is not given, or if a Ray job would lose it."""
    output = recipe.run.output
    if output is None:
        raise UsageError("no output folder: pass --output, or set run.output in the recipe")
    return require_lasting_path("output", output)


def require_lasting_path(what: str, path: str) -> str:
    """Returns the path. Raises `UsageError` if it is inside a Ray job's copy of its folder, which Ray deletes."""
    if JOB_FOLDER in f"{Path.cwd()}/" and "://" not in path and not Path(path).is_absolute():
        raise UsageError(
            f"the {what} {path} would be deleted with this job's copy of the working folder: pass a full path or URL"
        )
    return path


def report(totals: Totals, output: str, as_json: bool, rejected_label: str = "quarantined") -> None:
    """Prints the totals of an output set; `rejected_label` labels rejected rows.

    Raises `EmptyOutputError` if none is left.
    """
    if as_json:
        print_json(totals.to_dict())
    else:
        print_totals(totals, output, rejected_label)
    sys.stdout.flush()
    check_not_empty(totals, output)


def print_totals(totals: Totals, output: str, rejected_label: str) -> None:
    """Prints the totals of an output set in one line."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in totals.reasons.most_common())
    line = f"{output}: {totals.rows_in:,} rows in, {totals.rows_out:,} out, {totals.quarantined:,} {rejected_label}"
    line += f" ({reasons})" if reasons else ""
    line += "".join(f", {count:,} left out by {option}" for option, count in totals.left_out.items() if count)
    lost = totals.counts["lost_images"]  # of samples that are kept
    line += f", {lost:,} images lost" if lost else ""
    print_result(line + (f"; {NOTHING_DONE}" if totals.is_unchanged else ""))
