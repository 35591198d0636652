"""Computes the loss of held-out samples while a run trains, by source, and finds the step at which it was lowest."""

import json
import math
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch

from schemas.log import LOG
from training.checkpoint import format_checkpoint_name
from training.data.assemble import Assembler
from training.data.plan import Cursor, make_empty_pack
from training.evaluation.held_out_parts import HeldOutPart, pack_held_out
from training.evaluation.held_out_samples import HeldOutSampler, HeldOutSamplesFile
from training.metrics import read_lines, truncate_after_step
from training.objective import compute_micro_batch_loss
from training.parallel import autocast
from training.set_up import TrainingRun
from training.step import StepResult, Trainer

HELD_OUT_FILE = "held_out.jsonl"
"""A line for each computation: the step, the mean loss over labelled positions, the same by source, and seconds."""


@dataclass(frozen=True, slots=True)
class HeldOutLoss:
    """Computes the loss of the same packs each time, each rank that of its share of them."""

    trainer: Trainer
    parts: list[HeldOutPart]  # of this rank; all ranks have as many packs, because a sharded model runs on all at once

    @classmethod
    def build(cls, trainer: Trainer, parts: list[HeldOutPart]) -> "HeldOutLoss":
        """Takes this rank's share of the packs."""
        ranks = trainer.ranks
        shares = []
        for part in parts:
            missing = -len(part.packs) % ranks.world_size
            packs = [*part.packs, *[make_empty_pack(Cursor())] * missing]
            shares.append(HeldOutPart(part.plan, packs[ranks.rank :: ranks.world_size]))
        return cls(trainer, shares)

    @property
    def names(self) -> list[str]:
        """Returns the names of all sources and sets, in the order of their losses."""
        return [name for part in self.parts for name in part.names]

    def compute(self) -> StepResult:
        """Returns the losses over all ranks, as a step has them. Samples that can't be read are left out."""
        sums: list[float] = []
        counts: list[float] = []
        self.trainer.model.eval()
        try:
            for part in self.parts:
                of_sums, of_counts = self._sum_losses(part)
                sums += of_sums
                counts += of_counts
        finally:
            self.trainer.model.train()
        total = self.trainer.ranks.all_reduce([*sums, *counts], "the held-out loss")
        loss_sums, label_counts = total[: len(sums)], [int(count) for count in total[len(sums) :]]
        return StepResult(sum(loss_sums) / max(sum(label_counts), 1), loss_sums, label_counts, 0.0)

    def _sum_losses(self, part: HeldOutPart) -> tuple[list[float], list[float]]:
        """Returns the sums of the loss and the numbers of labelled positions of this rank's packs, by name."""
        ranks, count = self.trainer.ranks, len(part.names)
        assembler, weights = Assembler(part.plan), torch.ones(count, device=ranks.device)
        sums, counts = torch.zeros(count, dtype=torch.float64), torch.zeros(count, dtype=torch.float64)
        for pack in part.packs:
            batch, _ = assembler.assemble(pack)
            with torch.no_grad(), autocast(self.trainer.recipe, ranks):
                found = compute_micro_batch_loss(self.trainer.model, batch.to(ranks.device), 1, weights)
            sums += found.loss_sums.cpu()
            counts += found.label_counts.cpu()
        return sums.tolist(), counts.tolist()


class HeldOutLog:
    """Computes the held-out loss when it is due, and records it in the run's folder; does nothing in other runs.

    Whenever the loss is the lowest so far, it also records how the model continues a few held-out samples.
    """

    def __init__(self, run: TrainingRun, step: int) -> None:
        """Continues the log of a run after `step`. Raises `UsageError` if nothing is held out that can be used."""
        self._trainer = run.trainer
        self._options = run.trainer.recipe.data.held_out
        self._path = run.folder / HELD_OUT_FILE
        self._lines: list[dict[str, Any]] = []
        if self._options is None:
            return
        parts, ranks = pack_held_out(run.plan, self._options), run.trainer.ranks
        self._loss = HeldOutLoss.build(run.trainer, parts)
        self._sampler = HeldOutSampler.build(run, parts, self._options)
        self._samples = HeldOutSamplesFile(run.folder)
        if ranks.is_first:
            truncate_after_step(self._path, step)
            self._samples.truncate_after_step(step)
        self._lines = json.loads(
            ranks.broadcast("held_out", json.dumps(read_lines(self._path)) if ranks.is_first else "")
        )

    @property
    def best_step(self) -> int | None:
        """Returns the step of the lowest loss, the earliest of several; None before the first computation."""
        finite = self._finite_lines
        return min(finite, key=lambda line: float(line["loss"]))["step"] if finite else None

    @property
    def _finite_lines(self) -> list[dict[str, Any]]:
        return [line for line in self._lines if math.isfinite(line["loss"])]

    def find_best_kept(self, names: Collection[str]) -> int | None:
        """Returns the step of the lowest loss among those whose checkpoints, of these names, are there.

        That of the lowest of all may never have been written, on a full disk.
        """
        kept = [line for line in self._finite_lines if format_checkpoint_name(line["step"]) in names]
        return min(kept, key=lambda line: float(line["loss"]))["step"] if kept else None

    def record(self, step: int, is_last: bool) -> bool:
        """Computes and logs the loss if it is due after `step`. Returns whether it is the lowest so far."""
        if self._options is None or not (is_last or step % self._options.every == 0):
            return False
        if self._lines and self._lines[-1]["step"] >= step:
            return False
        started = time.perf_counter()
        found = self._loss.compute()
        line = {
            "step": step,
            "loss": found.loss,
            "losses": found.average_by_source(self._loss.names),
            "labels": sum(found.label_counts),
            "seconds": round(time.perf_counter() - started, 3),
        }
        self._lines.append(line)
        if is_best := self.best_step == step:
            started = time.perf_counter()
            samples = self._sampler.generate()
            line["sampling_seconds"] = round(time.perf_counter() - started, 3)
        if self._trainer.ranks.is_first:
            if is_best:
                self._samples.append(step, samples)
            with self._path.open("a") as file:
                file.write(json.dumps(line) + "\n")
            LOG.info(f"training: held-out loss {found.loss:.4f} after step {step:,}")
        return is_best
