"""Runs the trainer's command line, `python -m training.train RECIPE`, alone or under torchrun."""

import contextlib
import os
import shlex
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from schemas.activity import report_activity
from schemas.errors import ShardloomError, UsageError
from schemas.extras import require_extra
from schemas.log import LOG, configure_log
from schemas.log_options import LoggedCommand
from schemas.terminal import print_result

INTERRUPTED_EXIT_CODE = 130
PROGRAM = "python -m training.train"
EXAMPLES = (
    "Examples: python -m training.train pretrain_4b.yaml --dry-run; "
    "torchrun --nproc-per-node 8 -m training.train pretrain_4b.yaml --output run optimizer.lr_rule=mm1"
)


def train(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="a YAML recipe of kind train")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="key=value", help="override the recipe, for example optimizer.lr.language=1e-4"),
    ] = None,
    output: Annotated[str | None, typer.Option("--output", "-o", metavar="DIR", help="the run's folder")] = None,
    resume: Annotated[
        str | None,
        typer.Option(metavar="auto|PATH", help="resume from the output's newest intact checkpoint, or from this one"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="report sizes, memory and the first sequence; no training")
    ] = False,
    ranks: Annotated[
        int | None, typer.Option(help="with --dry-run: number of GPUs to estimate memory for; default: 1")
    ] = None,
) -> None:
    """Train a resampler LMM on training shards. SIGTERM or Ctrl-C stops it with a checkpoint, from which it resumes.

    Exits 0 when done or stopped with a checkpoint, 1 after a failure, 2 for wrong use, 130 when interrupted twice:
    then at once, without a checkpoint. torchrun sets its own exit code: 1 after a signal.
    """
    program = PROGRAM if context.parent is None else "shardloom train"
    try:
        if dry_run:
            _print_dry_run(recipe, overrides or [], output, 1 if ranks is None else ranks)
            return
        if ranks is not None:
            start = f"torchrun --nproc-per-node {ranks}"
            raise UsageError(f"--ranks needs --dry-run: to train, start ranks with {start}")
        _train(recipe, overrides or [], output, resume, program)
    except ShardloomError as error:
        _fail(f"error: {error}", error.exit_code)
    except KeyboardInterrupt:
        again = "" if dry_run else ": --resume auto resumes from the last checkpoint"
        _fail(f"stopped at once{again}", INTERRUPTED_EXIT_CODE)


def _print_dry_run(recipe: str, overrides: list[str], output: str | None, ranks: int) -> None:
    require_extra("train", "training")
    from training.recipe import load_train_recipe

    loaded = load_train_recipe(recipe, overrides, output)
    with report_activity("training: loading PyTorch", at_once=True):  # its import takes seconds, as below
        from training.dry_run import dry_run

    with report_activity("training: planning the first sequence"):
        for part in dry_run(loaded, ranks):
            for line in part.split("\n"):
                print_result(line)


def _train(path: str, overrides: list[str], output: str | None, resume: str | None, program: str) -> None:
    require_extra("train", "training")
    from training.recipe import load_train_recipe

    recipe = load_train_recipe(path, overrides, output)
    is_first = os.environ.get("RANK", "0") == "0"
    with report_activity("training: loading PyTorch", at_once=True) if is_first else contextlib.nullcontext():
        from training.loop import select_counts, train

    result = train(recipe, resume)
    if not is_first:
        return
    losses = ", ".join(f"{name} {loss:.4f}" for name, loss in result.losses.items())
    seen = f"{result.seen['tokens']:,} tokens, {result.seen['images']:,} images"
    print_result(
        f"{result.status} after step {result.step:,} of {result.steps:,}: {seen}; loss: {losses or 'none'}",
    )
    for kind in ("left_out", "split"):
        if counts := select_counts(result.seen, kind):
            named = ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))
            print_result(f"{kind.replace('_', ' ')}: {named}")
    if result.model_folder is None:
        again = [path, *overrides, "--output", str(result.folder), "--resume", "auto"]
        print_result(f"resume with: {program} {shlex.join(again)}")
    else:
        print_result(f"model: {result.model_folder}")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line and exits with one of the codes that `train` names."""
    configure_log()
    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        rich_markup_mode="rich",
    )
    app.command(cls=LoggedCommand, epilog=EXAMPLES)(train)
    try:
        app(args=None if arguments is None else list(arguments), prog_name=PROGRAM, standalone_mode=False)
    except Exception as error:
        if not hasattr(error, "format_message"):  # all of Typer's errors for options and arguments have it
            raise
        _fail(f"error: {error.format_message()} (see --help)", UsageError.exit_code)
    sys.exit(0)


def _fail(message: str, code: int) -> NoReturn:
    LOG.error(message)
    sys.exit(code)


if __name__ == "__main__":
    main()
