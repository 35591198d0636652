"""Assembles the command line, `shardloom`, from its commands, and turns errors into one line and an exit code."""

import os
import signal
import sys
import threading
from typing import Annotated, NoReturn

import typer

from pipelines import GRAPH_THREAD
from pipelines.cli.commands import HELP, Commands
from pipelines.cluster.private_files import remove_private_folders
from schemas.errors import ShardloomError, UsageError, to_one_line
from schemas.log import LOG, configure_log
from schemas.terminal import print_result

app = typer.Typer(
    name="shardloom",
    cls=Commands,
    pretty_exceptions_enable=False,
    context_settings=HELP,
    rich_markup_mode="rich",
)

MAX_LINE = 4000  # characters of an error message: enough for a dozen paths; bounds what a hostile value can print
INTERRUPTED_EXIT_CODE = 130  # Typer's exit code for an interrupt


def _print_version() -> None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        print_result(f"shardloom {version('shardloom')}")
    except PackageNotFoundError:  # run from a source folder, as in a Ray job
        print_result("shardloom, version unknown: it is not installed")


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
    if storage_option:
        from schemas.storage.options import refuse_secrets, use_options

        refuse_secrets(storage_option)
        use_options(storage_option)
    if context.invoked_subcommand is None:
        context.get_help()
        raise typer.Exit(UsageError.exit_code)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Runs the command line. Exits 0 when done, 1 after a failure, 2 for wrong use."""
    configure_log()
    # SIGTERM then interrupts like Ctrl-C, even where a shell ignores SIGINT, as after `&`
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = app(args=arguments, standalone_mode=False) or 0
        if code != INTERRUPTED_EXIT_CODE:
            sys.exit(code)
    except ShardloomError as error:
        _fail(f"error: {error}", error.exit_code)
    except SystemExit as stop:
        if stop.code != signal.SIGTERM:  # Ray may turn a SIGTERM into a SystemExit with the signal's number
            raise
    except KeyboardInterrupt:
        pass
    except Exception as error:
        if not hasattr(error, "format_message"):  # all of Typer's errors for options and arguments have it
            raise
        _fail(f"error: {error.format_message()} (see --help)", UsageError.exit_code)
    _fail("stopped: finished work is kept; the same command resumes the run", ShardloomError.exit_code)


def _fail(line: str, code: int) -> NoReturn:
    LOG.error(to_one_line(line, MAX_LINE))
    if any(thread.name == GRAPH_THREAD for thread in threading.enumerate()):
        remove_private_folders()
        os._exit(code)  # a stalled graph can't be stopped, and Ray's exit handler would wait for it
    sys.exit(code)
