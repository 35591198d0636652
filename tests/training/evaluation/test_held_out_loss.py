"""The loss of held-out samples along a run: it is that of the model, and its best checkpoint stays."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from tests.training.support import runs
from training.checkpoint import CheckpointSaver, RunState, format_checkpoint_name, list_checkpoints
from training.data.assemble import Assembler
from training.data.options import HeldOutOptions
from training.evaluation.held_out_loss import HELD_OUT_FILE, HeldOutLoss
from training.loop import train
from training.parallel import Ranks
from training.recipe import CheckpointOptions, TrainRecipe
from training.set_up import set_up

HELD_OUT = {"share": 0.25, "every": 2, "samples": 4}


def ask(folder: Path, tokenizer: Path, **changes: Any) -> TrainRecipe:
    data = {"held_out": HELD_OUT, "workers": 0}
    return runs.packed(folder, tokenizer, data=data, run={"output": str(folder / "run")}, **changes)


def read_log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "run" / HELD_OUT_FILE).read_text().splitlines()]


def test_it_is_the_mean_loss_by_source(tokenizer: Path, tmp_path: Path) -> None:
    run = set_up(tmp_path / "run", ask(tmp_path, tokenizer), Ranks())
    loss = HeldOutLoss.build(run.trainer, run.plan, HeldOutOptions(samples=4))
    found = loss.compute()
    assert loss.compute() == found
    assert run.trainer.model.training
    sums, counts = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.int64)
    run.trainer.model.eval()
    for pack in loss.packs:
        batch, bad_samples = Assembler(run.plan).assemble(pack)
        assert bad_samples == []
        with torch.no_grad():
            losses = functional.cross_entropy(run.trainer.model(batch)[0], batch.labels[0], reduction="none")
        for source in range(3):
            at = (batch.sources[0] == source) & (batch.labels[0] != -100)
            sums[source] += losses[at].double().sum()
            counts[source] += at.sum()
    assert found.label_counts == counts.tolist()
    assert found.loss_sums == pytest.approx(sums.tolist(), rel=1e-5)
    assert found.loss == pytest.approx((sums.sum() / counts.sum()).item(), rel=1e-5)


def test_a_run_logs_it_and_keeps_the_best_checkpoint(tokenizer: Path, tmp_path: Path) -> None:
    """A learning rate that is far too high makes the first checkpoint the best one; a resumed run keeps it."""
    worse = {"optimizer": {"lr": {"connector": 0.1, "language": 0.1}}, "checkpoint": {"every": 1, "keep": 1}}
    asked = ask(tmp_path, tokenizer, steps=5, **worse)
    assert train(asked).status == "done"
    log = read_log(tmp_path)
    assert [line["step"] for line in log] == [2, 4, 5]
    assert all(line["losses"].keys() <= {"captions", "docs", "text"} and line["labels"] > 0 for line in log)
    best = min(log, key=lambda line: float(line["loss"]))["step"]
    kept = [format_checkpoint_name(step) for step in sorted({best, 5}, reverse=True)]
    assert list_checkpoints(tmp_path / "run/checkpoints") == kept
    assert train(asked.model_copy(update={"steps": 6}), resume="auto").step == 6
    again = read_log(tmp_path)
    assert again[:3] == log
    assert [line["step"] for line in again] == [2, 4, 5, 6]
    best = min(again, key=lambda line: float(line["loss"]))["step"]
    assert format_checkpoint_name(best) in list_checkpoints(tmp_path / "run/checkpoints")


def test_the_best_checkpoint_outlasts_the_others(tokenizer: Path, tmp_path: Path) -> None:
    held = runs.trainer(runs.recipe(tokenizer))
    runs.step(held, [runs.batch(0), runs.batch(1)])
    with CheckpointSaver(tmp_path, CheckpointOptions(keep=1), held.ranks, best_step=2) as saver:
        for step in range(1, 5):
            saver.save(held.model, held.optimizer, RunState(step, {}, {}, "", {}, {}))
    assert list_checkpoints(tmp_path) == [format_checkpoint_name(step) for step in (4, 2)]
