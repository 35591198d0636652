"""The command line: thin doors to functions that can be called from Python as well."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, NoReturn

import typer

from pipelines import GRAPH_THREAD
from pipelines.cli.annotate import annotate
from pipelines.cli.demo import demo
from pipelines.cli.download import download
from pipelines.cli.engines import engines
from pipelines.cli.evaluate import evaluate
from pipelines.cli.generate import generate
from pipelines.cli.ingest import ingest
from pipelines.cli.mix import mix
from pipelines.cli.recipe import recipe
from pipelines.cli.render import render
from pipelines.cli.select import select
from pipelines.cli.shard import shard
from pipelines.cli.stats import stats
from pipelines.cli.train import train
from pipelines.cli.verify import verify
from pipelines.cluster.private_files import remove_private_folders
from schemas.errors import ShardloomError, UsageError, one_line
from schemas.storage.folder import refuse_secrets, use_options
from schemas.terminal import say

app = typer.Typer(
    name="shardloom",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)

LINE = 4000  # characters of an error: it may name a dozen paths, and no more than what is shown of a hostile value
INTERRUPTED = 130  # what Typer makes of an interrupt; a SIGTERM may reach us as Ray's exit with the signal's number


def _print_version() -> None:
    try:
        say(f"shardloom {version('shardloom')}", is_result=True)
    except PackageNotFoundError:  # run from a folder, as Ray jobs are
        say("shardloom, not installed", is_result=True)


@app.callback(invoke_without_command=True)
def shardloom(
    context: typer.Context,
    storage_option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE", help="of the object store, as endpoint_url=https://..., but no secret; may be repeated"
        ),
    ] = None,
    show_version: Annotated[bool, typer.Option("--version", help="print the version and exit")] = False,
) -> None:
    """Annotates web-scale image shards and turns them into training shards for large multimodal models."""
    if show_version:
        _print_version()
        raise typer.Exit
    refuse_secrets(storage_option or [])
    use_options(storage_option or [])
    if context.invoked_subcommand is None:
        context.get_help()
        raise typer.Exit(UsageError.exit_code)


EXAMPLES: dict[Callable[..., None], str] = {
    select: "select 'metadata/*.parquet' --top-fraction 0.3 --min-side 200 --language en --output selected",
    download: "download 'metadata/*.parquet' --output images",
    annotate: "annotate ocr,tags,boxes --input 'shards/*.tar' --output annotations",
    render: "render ocr annotations --output captions --granularity 0 --granularity 5",
    shard: "shard --images 'shards/*.tar' --captions captions --output training",
    ingest: "ingest obelics --input 'obelics/*.parquet' --images urls.json --output training",
    mix: "mix recipes/blip3_stage1.yaml --plan",
    verify: "verify annotations",
    stats: "stats annotations --json",
    evaluate: "evaluate boxes annotations --truth truth.jsonl",
    generate: "generate run/model 'What does <image> say?' --image sign.jpg --chat",
    engines: "engines --build paddleocr",
    demo: "demo --output demo-output",
}
for command, example in EXAMPLES.items():
    app.command(epilog=f"Example: shardloom {example}")(command)
app.add_typer(recipe, name="recipe")
app.command(
    add_help_option=False,  # the trainer has its own, which torchrun reaches as well
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(train)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Runs the command line. Exits 0 when done, 1 when it failed, 2 when it was used wrongly."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # works where SIGINT is ignored, as behind a `&`
    try:
        code = app(args=arguments, standalone_mode=False) or 0
        if code != INTERRUPTED:
            sys.exit(code)
    except ShardloomError as error:
        _fail(f"error: {error}", error.exit_code)
    except SystemExit as stop:
        if stop.code != signal.SIGTERM:
            raise
    except KeyboardInterrupt:
        pass
    except Exception as error:
        if not hasattr(error, "format_message"):  # what all of Typer's errors in options and arguments have
            raise
        _fail(f"error: {error.format_message()} (--help tells more)", UsageError.exit_code)
    _fail("stopped: what is done is kept, the same command goes on", ShardloomError.exit_code)


def _fail(line: str, code: int) -> NoReturn:
    say(one_line(line, LINE))
    if any(thread.name == GRAPH_THREAD for thread in threading.enumerate()):
        remove_private_folders()
        os._exit(code)  # a graph at a halt can't be stopped, and Ray's own exit would wait for it
    sys.exit(code)
