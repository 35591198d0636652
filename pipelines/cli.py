"""The command line: thin doors to functions that can be called from Python as well."""

import json
import signal
import sys
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from pipelines import recipe as recipes
from schemas.errors import ShardloomError, UsageError

app = typer.Typer(
    name="shardloom",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.callback()
def shardloom() -> None:
    """Annotates web-scale image shards and turns them into training shards for large multimodal models."""


Output = Annotated[str | None, typer.Option("--output", "-o", help="the output set's folder: a path or an fsspec URL")]
Workers = Annotated[int | None, typer.Option(help="worker processes; default: one a core")]
Address = Annotated[str | None, typer.Option(help="a running Ray cluster; default: RAY_ADDRESS, else one of our own")]
AllowDamaged = Annotated[bool | None, typer.Option("--allow-damaged", help="exit 0 although an input is damaged")]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]
RecipeFile = Annotated[str | None, typer.Option("--recipe", "-r", help="a YAML recipe; flags are laid over it")]


@app.command(epilog="Example: shardloom annotate ocr --input 'shards/*.tar' --output annotations")
def annotate(
    what: Annotated[str | None, typer.Argument(help="engines (ocr), or a recipe file")] = None,
    input: Annotated[list[str] | None, typer.Option("--input", "-i", help="glob of image shards; may be repeated")] = None,
    output: Output = None,
    recipe: RecipeFile = None,
    chunk: Annotated[int | None, typer.Option(help="samples a unit of work")] = None,
    workers: Workers = None,
    address: Address = None,
    allow_damaged: AllowDamaged = None,
    json_: Json = False,
) -> None:
    """Annotate image shards: OCR over every image, committed shard by shard. The same command takes up a killed run."""
    from pipelines.annotate import annotate as run

    engines: dict[str, Any] | None = None
    if what is not None and what.endswith((".yaml", ".yml")):
        recipe = what
    elif what is not None:
        engines = {name: {"engine": recipes.DEFAULT_ENGINES.get(name, "")} for name in what.split(",")}
    loaded = recipes.load_recipe(
        recipes.AnnotateRecipe,
        recipe,
        input=input or None,
        engines=engines,
        chunk={"samples": chunk},
        run=_run(output, workers, address, allow_damaged),
    )
    _report(run(loaded, _output(loaded), quiet=json_), _output(loaded), json_)


def _run(output: str | None, workers: int | None, address: str | None, allow_damaged: bool | None) -> dict[str, Any]:
    return {"output": output, "workers": workers, "address": address, "allow_damaged": allow_damaged}


def _output(recipe: recipes.Recipe) -> str:
    if recipe.run.output is None:
        raise UsageError("no output folder: pass --output, or set run.output in the recipe")
    return recipe.run.output


def _report(totals: Any, output: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps(totals.to_dict()))
        return
    reasons = ", ".join(f"{count} {reason}" for reason, count in totals.reasons.most_common())
    line = f"{output}: {totals.rows_in:,} rows in, {totals.rows_out:,} out, {totals.quarantined:,} quarantined"
    Console().print(escape(line + (f" ({reasons})" if reasons else "")), soft_wrap=True)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Runs the command line. Exits 0 when done, 1 when it failed, 2 when it was used wrongly."""
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        app(args=arguments)
        sys.exit(0)
    except ShardloomError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("stopped: what is done is kept, the same command goes on", file=sys.stderr)
        sys.exit(1)
