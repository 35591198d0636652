"""What several commands have: flags, and the line in the end."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.output.totals import Totals, check_any_out
from pipelines.recipes.base import Recipe
from schemas.errors import UsageError
from schemas.terminal import say, say_json

JOB_FOLDER = "/runtime_resources/working_dir_files/"  # where Ray puts the copy of a job's --working-dir

Output = Annotated[str | None, typer.Option("--output", "-o", help="the output set's folder: a path or an fsspec URL")]
Workers = Annotated[int | None, typer.Option(help="worker processes; default: one a core")]
Address = Annotated[str | None, typer.Option(help="a running Ray cluster; default: RAY_ADDRESS, else one of our own")]
AllowDamaged = Annotated[bool | None, typer.Option("--allow-damaged", help="exit 0 although an input is damaged")]
Tokenizer = Annotated[str | None, typer.Option(help="count tokens by this tokenizer.json, folder, or name on the hub")]
AllowDownload = Annotated[
    bool | None, typer.Option("--allow-download", help="the tokenizer may be a name on the Hugging Face hub")
]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]
TrustCode = Annotated[
    list[str] | None,
    typer.Option("--trust-code", metavar="MODULE:NAME", help="code of your own to import and run; may be repeated"),
]
RecipeFile = Annotated[str | None, typer.Option("--recipe", "-r", help="a YAML recipe; flags are laid over it")]


def run_flags(
    output: str | None, workers: int | None, address: str | None, allow_damaged: bool | None
) -> dict[str, Any]:
    """What every run may be told, as the recipe's `run`; None is what was not given."""
    return {"output": output, "workers": workers, "address": address, "allow_damaged": allow_damaged}


def named(option: str, values: list[str] | None) -> dict[str, Any]:
    """The values of an option that is given as NAME=FOLDER; of one name there may be several."""
    named: dict[str, Any] = {}
    for value in values or []:
        name, _, folder = value.partition("=")
        if not name or not folder:
            raise UsageError(f"{option}: {value!r} is not NAME=FOLDER")
        named.setdefault(name, []).append(folder)
    return named


def output_of(recipe: Recipe) -> str:
    """The output set's folder. Raises `UsageError` when neither flag nor recipe names it, or a job would lose it."""
    output = recipe.run.output
    if output is None:
        raise UsageError("no output folder: pass --output, or set run.output in the recipe")
    return kept("output", output)


def kept(what: str, path: str) -> str:
    """The path. Raises `UsageError` for one that a Ray job would lose."""
    if JOB_FOLDER in f"{Path.cwd()}/" and "://" not in path and not Path(path).is_absolute():
        raise UsageError(f"the {what} {path} would go when this job's copy of its folder goes: give a full path or URL")
    return path


def report(totals: Totals, output: str, as_json: bool, without: str = "quarantined") -> None:
    """Prints what an output set holds now, and what is `without`. Raises `NothingOutError` when no row came out."""
    if as_json:
        say_json(totals.to_dict())
    else:
        print_totals(totals, output, without)
    sys.stdout.flush()
    check_any_out(totals, output)


def print_totals(totals: Totals, output: str, without: str) -> None:
    """Prints a line of what an output set holds now."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in totals.reasons.most_common())
    line = f"{output}: {totals.rows_in:,} rows in, {totals.rows_out:,} out, {totals.quarantined:,} {without}"
    line += f" ({reasons})" if reasons else ""
    lost = totals.counts["lost_images"]  # of samples that are kept
    say(line + (f", {lost:,} images lost" if lost else ""), is_result=True)
