"""Adds `--quiet`, `--verbose` and `--log-file` to a command of the command line."""

import logging
import shlex
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from schemas.errors import UsageError
from schemas.log import LOG, configure_log
from schemas.terminal import SILENCE


class LoggedCommand(TyperCommand):
    """A command that configures the log by its options, which its function does not see."""

    def __init__(self, *arguments: Any, params: list[Any] | None = None, **options: Any) -> None:
        super().__init__(*arguments, params=[*(params or []), *_make_options()], **options)

    def invoke(self, ctx: Any) -> Any:
        """Runs the command. Raises `UsageError` for a log file that cannot be written."""
        _configure(**{name: ctx.params.pop(name) for name in ("quiet", "verbose", "log_file")})
        SILENCE.begin()
        LOG.debug("command: %s", shlex.join(sys.argv))
        return super().invoke(ctx)


def _configure(
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="show only warnings and errors")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="show details, those of workers too")] = False,
    log_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="append all messages to this file, with their time")
    ] = None,
) -> None:
    if quiet and verbose:
        raise UsageError("--quiet and --verbose exclude each other: pass one of them")
    configure_log(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO, log_file)


def _make_options() -> list[Any]:
    app = typer.Typer(add_completion=False)
    app.command()(_configure)
    return [option for option in typer.main.get_command(app).params if option.name != "help"]
