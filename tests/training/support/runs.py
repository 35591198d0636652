"""Small runs: recipes, batches made by hand, trainers without data, and ranks as processes of their own."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.support.kills import Kill, KillOrder
from tests.support.signals import heed_interrupts
from tests.training.support import tiny
from tests.training.support.sets import mixed
from tests.training.support.tiny import END, pack, picture
from training.batch import PADDING, Batch
from training.checkpoint import format_checkpoint_name
from training.metrics import read_metrics
from training.model.tokens import load_tokenizer
from training.optimizer import make_optimizer
from training.parallel import Ranks, parallelize
from training.recipe import TrainRecipe
from training.set_up import prepare_model
from training.step import StepResult, Trainer, count_labels, take_step

SOURCES = ["pictures", "texts"]
REPOSITORY = Path(__file__).parents[3]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
ALL = {"lr": {"connector": 1e-3, "language": 1e-3}}


def recipe(tokenizer: Path, **changes: Any) -> TrainRecipe:
    """Of the tiny model; its data is not there unless `changes` name some."""
    values: dict[str, Any] = {
        "model": tiny.options(tokenizer).model_dump(),
        "data": {"sources": dict.fromkeys(SOURCES, "nowhere"), "weights": dict.fromkeys(SOURCES, 1)},
        "optimizer": ALL,
        "schedule": {"shape": "constant", "warmup_steps": 0},
        "steps": 4,
        "global_batch_size": 2,
        "precision": "fp32",
    }
    return TrainRecipe.model_validate(values | changes)


def batch(seed: int, images: bool = True, length: int = 64, tiles: int = 1, fixed_sampling: bool = False) -> Batch:
    """One sequence: a sample with a picture, unless there are to be none, and a text; they are of both sources."""
    words = [f"a picture of {seed}", f" and {seed * 7}"]
    first: tiny.Sample = [picture(seed, tiles), *words, END] if images else [*words, END]
    made = pack([[first, [f"text number {seed % 5} says so", END]]], length, fixed_sampling=fixed_sampling)
    return replace(made, sources=made.segments.clamp(min=PADDING))


def equal(one: Batch, other: Batch) -> bool:
    """Says whether two batches hold the same."""
    for field in fields(Batch):
        left, right = getattr(one, field.name), getattr(other, field.name)
        same = torch.equal(left, right) if isinstance(left, Tensor) else left == right
        if not same:
            return False
    return True


def trainer(asked: TrainRecipe, ranks: Ranks | None = None) -> Trainer:
    """What steps are taken with."""
    ranks = ranks or Ranks()
    whole = parallelize(prepare_model(asked), asked, ranks)
    loss_weights = torch.tensor([asked.loss_weights.get(name, 1.0) for name in asked.sources])
    optimizer = make_optimizer(whole, asked.optimizer, asked.optimizer.lr)
    return Trainer(asked, ranks, whole.train(), optimizer, loss_weights)


def step(held: Trainer, batches: list[Batch], number: int = 0) -> StepResult:
    """A step of this rank's micro-batches."""
    (total,) = held.ranks.all_reduce([float(count_labels(batches))], f"step {number + 1}")
    return take_step(held, batches, int(total), number)


def gradients(held: Trainer) -> dict[str, torch.Tensor]:
    """By parameter, whole."""
    found = {}
    for name, parameter in held.model.named_parameters():
        if parameter.grad is not None:
            grad = parameter.grad
            found[name.removeprefix("module.")] = grad.full_tensor() if hasattr(grad, "full_tensor") else grad.clone()
    return found


def packed(folder: Path, tokenizer: Path, **changes: Any) -> TrainRecipe:
    """A run over captioned images, documents and texts that lie in `folder`, without end."""
    sources = mixed(folder / "sets", load_tokenizer(tiny.options(tokenizer)))
    data = {
        "sources": sources,
        "weights": dict.fromkeys(sources, 1),
        "repeats": dict.fromkeys(sources),
        "stop": 1_000_000,
        "sequence_length": 128,
        "tiles_per_sequence": 8,
        "packing_window": 32,
        "cache": str(folder / "cache"),
    }
    changed = {"data": data | changes.pop("data", {}), "global_batch_size": 4} | changes
    return recipe(tokenizer, **changed)


def written(folder: Path, asked: TrainRecipe) -> Path:
    """The recipe as a file."""
    path = folder / "asked.yaml"
    path.write_bytes(asked.to_yaml())
    return path


def command(*arguments: object, ranks: int = 1) -> list[str]:
    """The trainer's command, by itself or on so many ranks."""
    python = [sys.executable, "-m"]
    if ranks > 1:
        python += ["torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", "-m"]
    return [*python, "training.train", *map(str, arguments)]


def ran(*arguments: object, ranks: int = 1) -> "subprocess.CompletedProcess[str]":
    """The trainer's command, run to its end in processes of its own."""
    return _run(command(*arguments, ranks=ranks))


def torchrun(script: str, *arguments: object, ranks: int = 2) -> "subprocess.CompletedProcess[str]":
    """A piece of Python on so many gloo ranks, as torchrun starts them."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    return _run([*launcher, script, *map(str, arguments)])


def started(*arguments: object) -> "subprocess.Popen[str]":
    """The trainer's command, under way, in a group of processes of its own."""
    return subprocess.Popen(
        command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env=ENVIRONMENT,
        start_new_session=True,
        preexec_fn=heed_interrupts,
    )


def run_until_killed(order: KillOrder, *arguments: object) -> Kill:
    """Runs the trainer's command, which dies by the order; returns where it did."""
    environment = ENVIRONMENT | order.environment
    ended = subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=600, cwd=REPOSITORY, env=environment, check=False
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    return order.read_kill()


def wait_for(process: "subprocess.Popen[str]", folder: Path, step: int, checkpoint: int | None = None) -> None:
    """Until the log tells of a step, and a checkpoint is there; fails when the process ends before."""
    while True:
        saved = checkpoint is None or (folder / "checkpoints" / format_checkpoint_name(checkpoint)).exists()
        if saved and (lines := read_metrics(folder)) and lines[-1]["step"] >= step:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)


def losses(folder: Path) -> dict[int, tuple[float, dict[str, float]]]:
    """The loss of every step in a run's log, and that of each source."""
    return {line["step"]: (line["loss"], line["losses"]) for line in read_metrics(folder)}


def packs(folder: Path) -> list[list[object]]:
    """What the steps of a run were made of."""
    return [[line[name] for name in ("step", "cursor", "labels", "tokens", "images")] for line in read_metrics(folder)]


def _run(words: list[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        words, capture_output=True, text=True, timeout=600, cwd=REPOSITORY, env=ENVIRONMENT, check=False
    )
