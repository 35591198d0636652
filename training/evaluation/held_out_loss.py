"""Computes the loss of held-out samples while a run trains, by source, and finds the step at which it was lowest."""

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from schemas.log import LOG
from training.data.assemble import Assembler
from training.data.options import HeldOutOptions
from training.data.plan import Cursor, Pack, PackPlan, make_empty_pack
from training.metrics import read_lines, truncate_after_step
from training.objective import compute_micro_batch_loss
from training.parallel import autocast
from training.step import StepResult, Trainer

HELD_OUT_FILE = "held_out.jsonl"
"""A line for each computation: the step, the mean loss over labelled positions, the same by source, and seconds."""


@dataclass(frozen=True, slots=True)
class HeldOutLoss:
    """Computes the loss of the same packs each time, each rank that of its share of them."""

    trainer: Trainer
    plan: PackPlan
    packs: list[Pack]  # of this rank; all ranks have as many, because a sharded model runs on all of them at once

    @classmethod
    def build(cls, trainer: Trainer, plan: PackPlan, options: HeldOutOptions) -> "HeldOutLoss":
        """Packs the held-out samples. Raises `UsageError` if there is none that can be used."""
        packs, ranks = plan.pack_held_out(options.samples), trainer.ranks
        missing = -len(packs) % ranks.world_size
        packs += [make_empty_pack(Cursor())] * missing
        return cls(trainer, plan, packs[ranks.rank :: ranks.world_size])

    def compute(self) -> StepResult:
        """Returns the losses over all ranks, as a step has them. Samples that can't be read are left out."""
        ranks, model, names = self.trainer.ranks, self.trainer.model, self.plan.sources.names
        assembler, weights = Assembler(self.plan), torch.ones(len(names), device=ranks.device)
        sums, counts = torch.zeros(len(names), dtype=torch.float64), torch.zeros(len(names), dtype=torch.float64)
        model.eval()
        try:
            for pack in self.packs:
                batch, _ = assembler.assemble(pack)
                with torch.no_grad(), autocast(self.trainer.recipe, ranks):
                    found = compute_micro_batch_loss(model, batch.to(ranks.device), 1, weights)
                sums += found.loss_sums.cpu()
                counts += found.label_counts.cpu()
        finally:
            model.train()
        total = ranks.all_reduce([*sums.tolist(), *counts.tolist()], "the held-out loss")
        loss_sums, label_counts = total[: len(names)], [int(count) for count in total[len(names) :]]
        return StepResult(sum(loss_sums) / max(sum(label_counts), 1), loss_sums, label_counts, 0.0)


class HeldOutLog:
    """Computes the held-out loss when it is due, and records it in the run's folder; does nothing in other runs."""

    def __init__(self, folder: Path, trainer: Trainer, plan: PackPlan, step: int) -> None:
        """Continues the log of a run after `step`. Raises `UsageError` if nothing is held out that can be used."""
        self._options = trainer.recipe.data.held_out
        self._path, self._trainer, self._names = folder / HELD_OUT_FILE, trainer, plan.sources.names
        self._lines: list[dict[str, Any]] = []
        if self._options is None:
            return
        self._loss = HeldOutLoss.build(trainer, plan, self._options)
        if trainer.ranks.is_first:
            truncate_after_step(self._path, step)
        self._lines = json.loads(
            trainer.ranks.broadcast("held_out", json.dumps(read_lines(self._path)) if trainer.ranks.is_first else "")
        )

    @property
    def best_step(self) -> int | None:
        """Returns the step of the lowest loss, the earliest of several; None before the first computation."""
        finite = [line for line in self._lines if math.isfinite(line["loss"])]
        return min(finite, key=lambda line: float(line["loss"]))["step"] if finite else None

    def record(self, step: int, is_last: bool) -> bool:
        """Computes and logs the loss if it is due after `step`. Returns whether it is the lowest so far."""
        if self._options is None or not (is_last or step % self._options.every == 0):
            return False
        if self._lines and self._lines[-1]["step"] >= step:
            return False
        started = time.perf_counter()
        found = self._loss.compute()
        losses = found.average_by_source(self._names)
        seconds = round(time.perf_counter() - started, 3)
        line = {
            "step": step,
            "loss": found.loss,
            "losses": losses,
            "labels": sum(found.label_counts),
            "seconds": seconds,
        }
        self._lines.append(line)
        if self._trainer.ranks.is_first:
            with self._path.open("a") as file:
                file.write(json.dumps(line) + "\n")
            LOG.info(f"training: held-out loss {found.loss:.4f} after step {step:,}")
        return self.best_step == step
