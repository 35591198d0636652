"""Two gloo ranks, one with images and one without, are one process; what they save, one loads."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.support import runs
from training.checkpoint import collect_tensors, find_latest, load_checkpoint
from training.parallel import Ranks

RANKS = Path(__file__).parent / "support/ranks.py"


def of_one(tokenizer: Path) -> tuple[runs.Trainer, list[list[float]]]:
    held, losses = runs.trainer(runs.recipe(tokenizer, global_batch_size=4)), []
    for number in range(4):
        outcome = runs.step(held, [runs.batch(4 * number + at, images=at < 2) for at in range(4)], number)
        losses.append([outcome.loss, outcome.gradient_norm, *outcome.loss_sums])
    return held, losses


def of_two(kind: str, tokenizer: Path, folder: Path) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    ran = runs.torchrun(str(RANKS), kind, tokenizer, folder)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return found


@pytest.mark.parametrize("kind", ["fsdp", "ddp"])
def test_two_ranks_are_one(kind: str, tokenizer: Path, tmp_path: Path) -> None:
    held, losses = of_one(tokenizer)
    found = of_two(kind, tokenizer, tmp_path)
    for one, two in zip(losses, found["losses"], strict=True):
        assert two == pytest.approx(one, abs=1e-5)
    if kind == "fsdp":
        assert all(name.startswith("vision.") for name in found["whole"])
        assert {name.split(".")[0] for name in found["sharded"]} == {"connector", "language"}
        assert found["unequal"] == []
        for one, two in zip(losses, found["in each micro-batch"], strict=True):
            assert two == pytest.approx(one, abs=1e-5)
    checkpoint = find_latest(tmp_path, Ranks())
    assert checkpoint is not None
    assert (checkpoint.state.step, checkpoint.state.cursor) == (4, {"window": 1, "pack": 2})
    assert len(checkpoint.files) == 2
    loaded = runs.trainer(runs.recipe(tokenizer, global_batch_size=4))
    load_checkpoint(checkpoint, loaded.model, loaded.optimizer, Ranks())
    theirs = collect_tensors(held.model, held.optimizer)
    for name, tensor in collect_tensors(loaded.model, loaded.optimizer).items():
        torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=1e-5)
    after = [runs.step(trainer, [runs.batch(99)], 4).loss for trainer in (held, loaded)]
    assert after[1] == pytest.approx(after[0], abs=1e-5)


def test_a_rank_that_does_not_come_is_named(tmp_path: Path) -> None:
    runs.torchrun(str(RANKS.with_name("absent.py")), tmp_path)
    assert (tmp_path / "said.txt").read_text().startswith("rank 0: step 2: rank 1 last reported: step 1 (")


def test_a_failure_on_one_rank_ends_all(tokenizer: Path, tmp_path: Path) -> None:
    """A shard that is not there any more, of which only one rank has a sample in its pack."""
    asked = runs.packed(tmp_path, tokenizer, steps=50, run={"timeout_seconds": 60})
    for shard in (tmp_path / "sets/captions/data").glob("*.tar"):
        shard.unlink()
    ran = runs.ran(runs.written(tmp_path, asked), "--output", tmp_path / "run", ranks=2)
    assert ran.returncode == 1
    errors = [line for line in ran.stderr.splitlines() if "error: " in line and "captions/data" in line]
    assert errors
    assert "Traceback (most recent call last)" not in ran.stderr.split("error: ")[0]
