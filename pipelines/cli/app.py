"""Assembles the command line, `shardloom`, from its commands, and turns errors into one line and an exit code."""

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

LINE = 4000  # characters of an error message: enough for a dozen paths; bounds what a hostile value can print
INTERRUPTED = 130  # Typer's code for an interrupt; a SIGTERM may arrive as Ray's SystemExit with the signal's number


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
            metavar="KEY=VALUE",
            help="option of the object store, such as endpoint_url=https://...; no secrets; may be repeated",
        ),
    ] = None,
    show_version: Annotated[bool, typer.Option("--version", help="print the version and exit")] = False,
) -> None:
    """Annotate web-scale image shards and turn them into training shards for large multimodal models."""
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
    add_help_option=False,  # the trainer prints its own, also under torchrun
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(train)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Runs the command line. Exits 0 when done, 1 after a failure, 2 for wrong use."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # works where SIGINT is ignored, as after `&`
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
        if not hasattr(error, "format_message"):  # all of Typer's errors for options and arguments have it
            raise
        _fail(f"error: {error.format_message()} (--help tells more)", UsageError.exit_code)
    _fail("stopped: what is done is kept; the same command resumes the run", ShardloomError.exit_code)


def _fail(line: str, code: int) -> NoReturn:
    say(one_line(line, LINE))
    if any(thread.name == GRAPH_THREAD for thread in threading.enumerate()):
        remove_private_folders()
        os._exit(code)  # a stalled graph can't be stopped, and Ray's exit handler would wait for it
    sys.exit(code)
