"""Small runs: recipes, batches made by hand, trainers without data, and ranks as processes of their own."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tests.training.model import tiny
from tests.training.model.tiny import END, pack, picture
from training.batch import PADDING, Batch
from training.optimiser import make_optimiser
from training.parallel import Ranks, spread
from training.recipe import TrainRecipe
from training.set_up import prepared
from training.step import Outcome, Trainer, labels_in, take_step

SOURCES = ["pictures", "texts"]
REPOSITORY = Path(__file__).parents[2]
ALL = {"lr": {"connector": 1e-3, "language": 1e-3}}


def recipe(tokenizer: Path, **changes: Any) -> TrainRecipe:
    """Of the tiny model; its data is not there unless `changes` name some."""
    values: dict[str, Any] = {
        "model": tiny.options(tokenizer).model_dump(),
        "data": {"sources": dict.fromkeys(SOURCES, "nowhere"), "weights": dict.fromkeys(SOURCES, 1)},
        "optimiser": ALL,
        "schedule": {"shape": "constant", "warmup": 0},
        "steps": 4,
        "sequences": 2,
        "precision": "fp32",
    }
    return TrainRecipe.model_validate(values | changes)


def batch(seed: int, images: bool = True, length: int = 64) -> Batch:
    """One sequence: a sample with a picture, unless there are to be none, and a text; they are of both sources."""
    words = [f"a picture of {seed}", f" and {seed * 7}"]
    first: tiny.Sample = [picture(seed), *words, END] if images else [*words, END]
    made = pack([[first, [f"text number {seed % 5} says so", END]]], length)
    return replace(made, sources=made.segments.clamp(min=PADDING))


def trainer(asked: TrainRecipe, ranks: Ranks | None = None) -> Trainer:
    """What steps are taken with."""
    ranks = ranks or Ranks()
    whole = spread(prepared(asked), asked, ranks)
    multipliers = torch.tensor([asked.multipliers.get(name, 1.0) for name in asked.sources])
    optimiser = make_optimiser(whole, asked.optimiser, asked.optimiser.lr)
    return Trainer(asked, ranks, whole.train(), optimiser, multipliers)


def step(held: Trainer, batches: list[Batch], number: int = 0) -> Outcome:
    """A step of this rank's micro-batches."""
    (total,) = held.ranks.sums([float(labels_in(batches))], f"step {number + 1}")
    return take_step(held, batches, int(total), number)


def gradients(held: Trainer) -> dict[str, torch.Tensor]:
    """By parameter, whole."""
    found = {}
    for name, parameter in held.model.named_parameters():
        if parameter.grad is not None:
            grad = parameter.grad
            found[name.removeprefix("module.")] = grad.full_tensor() if hasattr(grad, "full_tensor") else grad.clone()
    return found


def torchrun(script: str, *arguments: object, ranks: int = 2, timeout: int = 120) -> "subprocess.CompletedProcess[str]":
    """A module or a piece of Python on so many gloo ranks, as torchrun starts them."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(
        [*command, script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=REPOSITORY,
        env=environment,
        check=False,
    )
