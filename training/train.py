"""Runs the trainer's command line, `python -m training.train RECIPE`, alone or under torchrun."""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from typing import NoReturn

from schemas.errors import ShardloomError, UsageError
from schemas.terminal import say

EXAMPLES = """examples:
  python -m training.train recipes/train/tiny.yaml --output run
  python -m training.train recipes/train/tiny.yaml --output run --resume auto
  python -m training.train recipes/train/pretrain_4b.yaml --dry-run
  torchrun --nproc-per-node 8 -m training.train recipes/train/pretrain_4b.yaml --output run optimiser.law=mm1

exit codes:
  0    done, or stopped by SIGTERM or Ctrl-C with a checkpoint: a line says how to resume
  1    failed; checkpoints stay, and the same command with --resume auto resumes
  2    wrong use, found before any work
  130  interrupted twice: stopped at once, without a checkpoint
torchrun sets its own exit code: 1 after a signal, although every rank has stopped with a checkpoint.
"""
INTERRUPTED = 130
PROGRAM = "python -m training.train"


def main(arguments: Sequence[str] | None = None, program: str = PROGRAM) -> NoReturn:
    """Runs the command and exits; `program` is the command's name in help texts and hints."""
    asked = _parser(program).parse_intermixed_args(arguments)
    try:
        _run(asked, program)
    except ShardloomError as error:
        _fail(f"error: {error}", error.exit_code)
    except KeyboardInterrupt:
        again = "" if asked.dry_run else ": --resume auto resumes from the last checkpoint"
        _fail(f"stopped at once{again}", INTERRUPTED)
    sys.exit(0)


def _run(asked: argparse.Namespace, program: str) -> None:
    from training.recipe import load_recipe  # imports torch, which takes seconds

    recipe = load_recipe(asked.recipe, asked.overrides, asked.output)
    if asked.ranks is not None and not asked.dry_run:
        raise UsageError(f"--ranks needs --dry-run: to train, start ranks with torchrun --nproc-per-node {asked.ranks}")
    if asked.dry_run:
        from training.dry_run import dry_run

        for part in dry_run(recipe, 1 if asked.ranks is None else asked.ranks):
            for line in part.split("\n"):
                say(line, is_result=True)
        return
    from training.loop import of_kind, train

    result = train(recipe, asked.resume, asked.quiet)
    if asked.quiet or not _is_first():
        return
    losses = ", ".join(f"{name} {loss:.4f}" for name, loss in result.losses.items())
    seen = f"{result.seen['tokens']:,} tokens, {result.seen['images']:,} images"
    say(
        f"{result.ended} after step {result.step:,} of {recipe.steps:,}: {seen}; loss: {losses or 'none'}",
        is_result=True,
    )
    for kind in ("left_out", "split"):
        if counts := of_kind(result.seen, kind):
            told = ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))
            say(f"{kind.replace('_', ' ')}: {told}", is_result=True)
    if result.model is None:
        again = [asked.recipe, *asked.overrides, "--output", str(result.folder), "--resume", "auto"]
        say(f"resume with: {program} {shlex.join(again)}", is_result=True)
    else:
        say(f"model: {result.model}", is_result=True)


def _parser(program: str) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=program,
        description="Trains a resampler LMM on training shards.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("recipe", metavar="RECIPE", help="a YAML recipe of kind train")
    parser.add_argument(
        "overrides", metavar="key=value", nargs="*", help="override the recipe, as in optimiser.lr.language=1e-4"
    )
    parser.add_argument("--output", "-o", metavar="DIR", help="the run's folder")
    parser.add_argument(
        "--resume", metavar="auto|PATH", help="resume from the output's newest intact checkpoint, or from this one"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="report sizes, memory and the first sequence; no training"
    )
    parser.add_argument("--ranks", type=int, help="with --dry-run: number of GPUs to estimate memory for (default 1)")
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress")
    return parser


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        _fail(f"error: {message} (see --help)", UsageError.exit_code)


def _is_first() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _fail(message: str, code: int) -> NoReturn:
    say(message)
    sys.exit(code)


if __name__ == "__main__":
    main()
