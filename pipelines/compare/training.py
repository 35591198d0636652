"""Trains one model of a comparison: in this process, or on several ranks that torchrun starts."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pipelines.compare.design import Training
from pipelines.compare.folder import FinishedTraining
from schemas.errors import ShardloomError, UsageError
from training.checkpoint import find_latest
from training.loop import train
from training.model.pretrained import CONFIG_FILE
from training.parallel import Ranks
from training.set_up import CHECKPOINTS_FOLDER, MODEL_FOLDER


def train_model(training: Training, steps: int, ranks: int) -> FinishedTraining:
    """Trains a model for so many steps, or resumes its training. A signal stops it with a checkpoint and is raised.

    Raises `ShardloomError` when the data run out before the last step.
    """
    started = time.monotonic()
    with name_training(training):
        step, seen = _train_here(training) if ranks == 1 else _train_on_ranks(training, ranks)
    if step < steps:
        raise ShardloomError(
            f"{training.title}: its data ran out after {step:,} of {steps:,} steps, so that the budgets are unequal: "
            "repeat its sources (data.repeats), or set fewer steps in a new --output"
        )
    return FinishedTraining(time.monotonic() - started, seen)


@contextmanager
def name_training(training: Training) -> Iterator[None]:
    """Names the training in an error of the block."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{training.title}: {error}") from None
    except ShardloomError as error:
        raise ShardloomError(f"{training.title}: {error}") from None


def _train_here(training: Training) -> tuple[int, dict[str, int]]:
    """Returns the last step, and what was seen until then."""
    result = train(training.recipe, resume="auto")
    if result.model_folder is None:  # it was stopped by a signal, with a checkpoint
        raise KeyboardInterrupt
    return result.step, result.seen


def _train_on_ranks(training: Training, ranks: int) -> tuple[int, dict[str, int]]:
    """Returns the same, of processes of their own, whose messages are shown as they come."""
    torch.cuda.empty_cache()  # the evaluation before has left memory in this process; nothing without CUDA
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    recipe = [*training.arguments, "--output", str(training.run_folder), "--resume", "auto"]
    if code := _run([*launcher, "-m", "training.train", *recipe]):
        raise ShardloomError(f"its ranks ended with exit code {code}; the lines above say why")
    latest = find_latest(training.run_folder / CHECKPOINTS_FOLDER, Ranks())
    if latest is None or not (training.run_folder / MODEL_FOLDER / CONFIG_FILE).is_file():
        raise KeyboardInterrupt  # they were stopped by a signal, with a checkpoint
    return latest.state.step, latest.state.seen


def _run(command: list[str]) -> int:
    """Runs a command, which prints to standard error, and returns its exit code; a signal to this process stops it."""
    with subprocess.Popen(command, stdout=_STANDARD_ERROR) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.terminate()  # torchrun passes it on and waits, and the trainers write a checkpoint
            process.wait()
            raise


_STANDARD_ERROR = 2
"""The descriptor. The result of the comparison alone goes to standard output."""
