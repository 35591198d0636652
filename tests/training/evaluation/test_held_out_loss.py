"""The loss of held-out samples along a run: it is that of the model, and its best checkpoint stays."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from tests.support.kills import KillOrder
from tests.training.support import runs, tiny
from tests.training.support.sets import captioned, write_set
from training.checkpoint import COMMIT_FILE, CheckpointSaver, RunState, format_checkpoint_name, list_checkpoints
from training.data.assemble import Assembler
from training.data.options import HeldOutOptions
from training.evaluation.held_out_loss import HELD_OUT_FILE, HeldOutLog, HeldOutLoss
from training.evaluation.held_out_parts import pack_held_out
from training.evaluation.held_out_samples import SAMPLES_FILE
from training.loop import train
from training.model.tokens import load_tokenizer
from training.parallel import Ranks
from training.recipe import CheckpointOptions, TrainRecipe
from training.set_up import TrainingRun, set_up

HELD_OUT = {"share": 0.25, "every": 2, "samples": 4}


def ask(folder: Path, tokenizer: Path, **changes: Any) -> TrainRecipe:
    data = {"held_out": HELD_OUT | changes.pop("held_out", {}), "workers": 0}
    run = {"output": str(folder / "run"), "peak_tflops": 1.0}
    return runs.packed(folder, tokenizer, data=data, run=run, **changes)


def read_log(folder: Path, file: str = HELD_OUT_FILE) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "run" / file).read_text().splitlines()]


def drop_times(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in line.items() if "seconds" not in name} for line in lines]


def prepare(folder: Path, asked: TrainRecipe) -> tuple[TrainingRun, HeldOutLoss]:
    run = set_up(folder / "run", asked, Ranks())
    return run, HeldOutLoss.build(run.trainer, pack_held_out(run.plan, HeldOutOptions(samples=4)))


def test_it_is_the_mean_loss_by_source(tokenizer: Path, tmp_path: Path) -> None:
    run, loss = prepare(tmp_path, ask(tmp_path, tokenizer))
    found = loss.compute()
    assert loss.compute() == found
    assert run.trainer.model.training
    sums, counts = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.int64)
    run.trainer.model.eval()
    for pack in loss.parts[0].packs:
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


def test_it_is_computed_without_dropout(tokenizer: Path, tmp_path: Path) -> None:
    """And the model trains on with it."""
    model = tiny.options(tokenizer, language={"config": tiny.PHI3 | {"resid_pdrop": 0.5}})
    run, loss = prepare(tmp_path, ask(tmp_path, tokenizer, model=model.model_dump()))
    first = loss.compute()
    assert loss.compute() == first
    batch, _ = Assembler(run.plan).assemble(loss.parts[0].packs[0])
    assert not torch.equal(run.trainer.model(batch), run.trainer.model(batch))


def test_the_shares_of_two_ranks_add_up_to_one_rank_s(tokenizer: Path, tmp_path: Path) -> None:
    """Each computes its own packs; of an odd number, one rank's last is empty."""
    words = load_tokenizer(tiny.options(tokenizer))
    val = write_set(tmp_path / "val", [captioned(100 + n, "xyz" * (n + 1)) for n in range(3)], words)
    run, whole = prepare(tmp_path, ask(tmp_path, tokenizer, held_out={"sets": {"val": val}}))
    parts = pack_held_out(run.plan, HeldOutOptions(samples=4))
    halves = []
    for rank in range(2):
        trainer = replace(run.trainer, ranks=Ranks(rank=rank, world_size=2))
        halves.append(HeldOutLoss.build(trainer, parts))
    assert [len(part.packs) for part in halves[0].parts] == [len(part.packs) for part in halves[1].parts]
    assert whole.names == ["captions", "docs", "text", "val"]
    one, (first, second) = whole.compute(), (half.compute() for half in halves)
    assert all(one.label_counts)
    assert one.label_counts == [sum(pair) for pair in zip(first.label_counts, second.label_counts, strict=True)]
    sums = [sum(pair) for pair in zip(first.loss_sums, second.loss_sums, strict=True)]
    assert one.loss_sums == pytest.approx(sums, rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["fsdp", "ddp"])
def test_it_is_the_same_on_two_ranks(kind: str, tokenizer: Path, tmp_path: Path) -> None:
    """Ranks that gloo connects; the samples that they generate are the same as well."""
    found = []
    for ranks in (1, 2):
        folder = tmp_path / str(ranks)
        asked = ask(folder, tokenizer, parallel=kind if ranks > 1 else "none", steps=4)
        path = runs.written(folder, asked)
        done = runs.ran(path, ranks=ranks)
        assert done.returncode == 0, done.stderr
        found.append((read_log(folder), read_log(folder, SAMPLES_FILE)))
    (lines, samples), (lines_of_two, samples_of_two) = found
    assert [line["step"] for line in lines] == [line["step"] for line in lines_of_two] == [2, 4]
    for one, other in zip(lines, lines_of_two, strict=True):
        assert one["labels"] == other["labels"]
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-5)
        assert one["losses"] == pytest.approx(other["losses"], abs=1e-5)
    names = ("step", "source", "key", "prompt", "expected")
    assert [[one[name] for name in names] for one in samples] == [
        [one[name] for name in names] for one in samples_of_two
    ]


def test_a_sharded_run_trains_on_after_it(tokenizer: Path, tmp_path: Path) -> None:
    """On one process: the losses, the samples and all later steps are those of a run that is not sharded."""
    found = []
    for kind in ("none", "fsdp"):
        held_out = {"every": 1, "generate": 2, "generate_tokens": 4}
        asked = ask(tmp_path / kind, tokenizer, held_out=held_out, parallel=kind, steps=2)
        assert train(asked).status == "done"
        folder = tmp_path / kind
        found.append((drop_times(read_log(folder)), read_log(folder, SAMPLES_FILE), runs.losses(folder / "run")))
    (lines, samples, losses), (sharded_lines, sharded_samples, sharded_losses) = found
    assert [line["loss"] for line in sharded_lines] == pytest.approx([line["loss"] for line in lines], abs=1e-6)
    assert [one["generated"] for one in sharded_samples] == [one["generated"] for one in samples]
    assert [sharded_losses[step][0] for step in losses] == pytest.approx([losses[step][0] for step in losses], abs=1e-6)


def test_a_run_logs_it_and_keeps_the_best_checkpoint(tokenizer: Path, tmp_path: Path) -> None:
    """A learning rate that is far too high makes the first checkpoint the best one; a resumed run keeps it."""
    worse = {"optimizer": {"lr": {"connector": 3.0, "language": 3.0}}, "checkpoint": {"every": 1, "keep": 1}}
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


@pytest.mark.slow
def test_the_best_checkpoint_survives_a_kill(tokenizer: Path, tmp_path: Path) -> None:
    """The first checkpoint is the best, and the run dies in the third. Resumed, it ends as one that was not killed."""
    worse = {"optimizer": {"lr": {"connector": 3.0, "language": 3.0}}, "checkpoint": {"every": 2, "keep": 1}}
    found = {}
    for name in ("whole", "killed"):
        asked = ask(tmp_path / name, tokenizer, steps=8, held_out={"samples": 8}, **worse)
        path = runs.written(tmp_path / name, asked)
        checkpoints = tmp_path / name / "run/checkpoints"
        if name == "killed":
            (order := KillOrder(tmp_path / "order")).give(rf"{format_checkpoint_name(6)}/{COMMIT_FILE}$")
            runs.run_until_killed(order, path)
            assert list_checkpoints(checkpoints) == [format_checkpoint_name(step) for step in (4, 2)]
        done = runs.ran(path, "--resume", "auto")
        assert done.returncode == 0, done.stderr
        log = read_log(tmp_path / name)
        assert min(log, key=lambda line: float(line["loss"]))["step"] == 2
        assert list_checkpoints(checkpoints) == [format_checkpoint_name(step) for step in (8, 2)]
        found[name] = (drop_times(log), [one | {"shard": ""} for one in read_log(tmp_path / name, SAMPLES_FILE)])
    assert found["killed"] == found["whole"]


def test_the_best_of_the_checkpoints_that_are_there(tokenizer: Path, tmp_path: Path) -> None:
    """A lower loss may be that of a checkpoint that a full disk has not taken."""
    run = set_up(tmp_path / "run", ask(tmp_path, tokenizer), Ranks())
    run.folder.mkdir()
    losses = {1: math.nan, 2: 1.5, 4: 0.5, 6: 1.0, 8: math.nan}
    lines = [{"step": step, "loss": loss} for step, loss in losses.items()]
    (run.folder / HELD_OUT_FILE).write_text("".join(json.dumps(line) + "\n" for line in lines))
    log = HeldOutLog(run, 8)
    assert log.best_step == 4
    for there, best in (((2, 4, 6), 4), ((8, 6, 2), 6), ((8,), None), ((), None)):
        assert log.find_best_kept([format_checkpoint_name(step) for step in there]) == best


def test_the_best_checkpoint_outlasts_the_others(tokenizer: Path, tmp_path: Path) -> None:
    held = runs.trainer(runs.recipe(tokenizer))
    runs.step(held, [runs.batch(0), runs.batch(1)])
    with CheckpointSaver(tmp_path, CheckpointOptions(keep=1), held.ranks, best_step=2) as saver:
        for step in range(1, 5):
            saver.save(held.model, held.optimizer, RunState(step, {}, {}, "", {}, {}))
    assert list_checkpoints(tmp_path) == [format_checkpoint_name(step) for step in (4, 2)]
