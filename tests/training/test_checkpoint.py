"""Checkpoints are whole or not there; one that isn't is found out, and the one before is taken."""

import json
import os
import re
import shutil
import signal
from pathlib import Path

import pytest
import torch

from schemas.errors import ShardloomError, UsageError
from tests.pipelines.support.sets import small_disk
from tests.training.support import runs
from training.checkpoint import (
    COMMIT_FILE,
    CheckpointSaver,
    RunState,
    collect_tensors,
    find_latest,
    format_checkpoint_name,
    list_checkpoints,
    load_checkpoint,
    open_checkpoint,
)
from training.parallel import Ranks
from training.recipe import CheckpointOptions

ALONE = Ranks()


def state(step: int) -> RunState:
    return RunState(step, {"window": step, "pack": 0}, {"data": "one"}, "", {"steps": 9}, {"tokens": 5})


@pytest.fixture
def held(tokenizer: Path) -> runs.Trainer:
    return runs.trainer(runs.recipe(tokenizer))


def save(held: runs.Trainer, folder: Path, *steps: int, keep: int = 9) -> CheckpointSaver:
    with CheckpointSaver(folder, CheckpointOptions(keep=keep), ALONE) as saver:
        for step in steps:
            runs.step(held, [runs.batch(step)], step)
            saver.save(held.model, held.optimizer, state(step))
    return saver


def test_what_is_saved_is_what_was_then(held: runs.Trainer, tokenizer: Path, tmp_path: Path) -> None:
    with CheckpointSaver(tmp_path, CheckpointOptions(), ALONE) as saver:
        runs.step(held, [runs.batch(1)])
        before = {name: tensor.clone() for name, tensor in collect_tensors(held.model, held.optimizer).items()}
        saver.save(held.model, held.optimizer, state(1))
        runs.step(held, [runs.batch(2)], 1)  # while it is being written
    checkpoint = find_latest(tmp_path, ALONE)
    assert checkpoint is not None
    assert checkpoint.state == state(1)
    loaded = runs.trainer(runs.recipe(tokenizer, model=held.model.options.model_copy(update={"seed": 1}).model_dump()))
    load_checkpoint(checkpoint, loaded.model, loaded.optimizer, ALONE)
    found = collect_tensors(loaded.model, loaded.optimizer)
    assert found.keys() == before.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in before.items())
    assert {name.split(".")[1] for name in found} == {"connector", "language"}  # the frozen tower is not saved


def test_no_pickle(held: runs.Trainer, tmp_path: Path) -> None:
    save(held, tmp_path, 3)
    files = sorted(path.name for path in (tmp_path / format_checkpoint_name(3)).iterdir())
    assert files == ["commit.json", "shard-00001-model-00001-of-00001.safetensors"]


def test_the_last_ones_stay(held: runs.Trainer, tmp_path: Path) -> None:
    save(held, tmp_path, 1, 2, 3, keep=2)
    assert list_checkpoints(tmp_path) == [format_checkpoint_name(3), format_checkpoint_name(2)]


def test_a_run_that_has_gone_back(held: runs.Trainer, tmp_path: Path) -> None:
    """What it had saved later is another line's, and goes once there is something newer than what it went back to."""
    save(held, tmp_path, 1, 2, 3)
    save(held, tmp_path, 2)
    assert list_checkpoints(tmp_path) == [format_checkpoint_name(2), format_checkpoint_name(1)]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("cut", "shard-00001-model-00001-of-00001.safetensors has 1,000 bytes of "),
        ("flipped", "shard-00001-model-00001-of-00001.safetensors has changed since it was written"),
        ("gone", "shard-00001-model-00001-of-00001.safetensors is missing"),
        ("commit", "it has no commit.json"),
        ("half a commit", "commit.json cannot be read"),
        ("another version", "commit.json is of another version"),
    ],
)
def test_a_damaged_one_is_left_out(
    held: runs.Trainer, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str, said: str
) -> None:
    save(held, tmp_path, 1, 2)
    broken = tmp_path / format_checkpoint_name(2)
    (weights,) = broken.glob("*.safetensors")
    commit = (broken / COMMIT_FILE).read_text()
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif damage == "flipped":
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(data)
    elif damage == "gone":
        weights.unlink()
    elif damage == "commit":
        (broken / COMMIT_FILE).unlink()
    elif damage == "half a commit":
        (broken / COMMIT_FILE).write_text(commit[: len(commit) // 2])
    else:
        (broken / COMMIT_FILE).write_text(json.dumps(json.loads(commit) | {"version": 99}))
    checkpoint = find_latest(tmp_path, ALONE)
    assert checkpoint is not None
    assert checkpoint.state.step == 1
    told = capsys.readouterr().err
    assert told.startswith(f"{broken} is damaged and skipped: {said}")
    assert told.count("\n") == 1
    with pytest.raises(UsageError, match=f"{format_checkpoint_name(2)} is not an intact checkpoint"):
        open_checkpoint(broken, ALONE)


def test_none_is_whole(held: runs.Trainer, tmp_path: Path) -> None:
    assert find_latest(tmp_path, ALONE) is None
    save(held, tmp_path, 1)
    (tmp_path / format_checkpoint_name(1) / COMMIT_FILE).unlink()
    with pytest.raises(ShardloomError, match="none of 1 checkpoints is intact; start again with another --output"):
        find_latest(tmp_path, ALONE)


def test_leftovers_are_cleared(held: runs.Trainer, tmp_path: Path) -> None:
    (tmp_path / f".tmp-{format_checkpoint_name(7)}").mkdir()
    assert list_checkpoints(tmp_path) == []
    save(held, tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == [format_checkpoint_name(1)]


def test_another_model(held: runs.Trainer, tokenizer: Path, tmp_path: Path) -> None:
    save(held, tmp_path, 1)
    checkpoint = open_checkpoint(tmp_path / format_checkpoint_name(1), ALONE)
    larger = held.model.options.model_dump() | {"connector": {"depth": 2, "heads": 2, "head_dim": 16, "latents": 4}}
    other = runs.trainer(runs.recipe(tokenizer, model=larger))
    with pytest.raises(ShardloomError, match=r"does not fit this model: .*Missing key"):
        load_checkpoint(checkpoint, other.model, other.optimizer, ALONE)


def test_full_disk(held: runs.Trainer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = sum(tensor.numel() * 4 for tensor in collect_tensors(held.model, held.optimizer).values())
    with small_disk(tmp_path / "disk", int(size * 1.5)) as disk:
        saver = save(held, disk / "checkpoints", 1)
        assert saver.failure is None
        saver = save(held, disk / "checkpoints", 2)
        assert saver.failure is not None
        told = capsys.readouterr().err
        assert told.startswith("checkpoint after step 2 was not written: ")
        assert "No space left on device" in told
        assert told.endswith("; the previous one stays, training continues\n")
        assert [path.name for path in (disk / "checkpoints").iterdir()] == [format_checkpoint_name(1)]
        checkpoint = find_latest(disk / "checkpoints", ALONE)
        assert checkpoint is not None
        assert checkpoint.state.step == 1


def test_the_best_checkpoint_stays_until_a_better_one_is_written(held: runs.Trainer, tmp_path: Path) -> None:
    """A better one that the disk has no room for takes nothing away, and later ones do not push the best out."""
    size = sum(tensor.numel() * 4 for tensor in collect_tensors(held.model, held.optimizer).values())

    def save_step(saver: CheckpointSaver, step: int, is_best: bool) -> None:
        saver.save(held.model, held.optimizer, RunState(step, {}, {}, "", {}, {}), is_best)
        saver.wait()

    with small_disk(tmp_path / "disk", int(size * 2.5)) as disk:
        with CheckpointSaver(disk / "checkpoints", CheckpointOptions(keep=1), ALONE) as saver:
            save_step(saver, 1, is_best=True)
            assert saver.best_step == 1
            (disk / "other").write_bytes(bytes(size))
            save_step(saver, 2, is_best=True)
            assert saver.failure is not None
            assert saver.best_step == 1
            (disk / "other").unlink()
            save_step(saver, 3, is_best=False)
        assert list_checkpoints(disk / "checkpoints") == [format_checkpoint_name(step) for step in (3, 1)]
        with CheckpointSaver(disk / "checkpoints", CheckpointOptions(keep=1), ALONE, best_step=1) as saver:
            shutil.rmtree(disk / "checkpoints" / format_checkpoint_name(3))
            save_step(saver, 4, is_best=True)
        assert list_checkpoints(disk / "checkpoints") == [format_checkpoint_name(4)]


def test_training_goes_on_with_a_full_disk(tokenizer: Path, tmp_path: Path) -> None:
    asked = runs.packed(tmp_path, tokenizer, steps=6, checkpoint={"every": 2, "keep": 1, "asynchronous": False})
    with small_disk(tmp_path / "disk", 2_300_000) as disk:  # room for one checkpoint, not for two
        ran = runs.ran(runs.written(tmp_path, asked), "--output", disk / "run")
        assert ran.returncode == 1
        told = [line for line in ran.stderr.splitlines() if line.startswith(("checkpoint", "error"))]
        assert [line.split(":")[0] for line in told] == [
            "checkpoint after step 4 was not written",
            "checkpoint after step 6 was not written",
            "error",
        ]
        assert len(runs.losses(disk / "run")) == 6
        assert list_checkpoints(disk / "run/checkpoints") == [format_checkpoint_name(2)]


def test_stopped_by_a_signal(tokenizer: Path, tmp_path: Path) -> None:
    asked = runs.packed(tmp_path, tokenizer, steps=10_000, checkpoint={"every": 100_000})
    recipe = runs.written(tmp_path, asked)
    overrides = ["data.workers=1", "checkpoint={every: 1000, keep: 3}"]
    process = runs.started(recipe, *overrides, "--output", tmp_path / "run")
    runs.wait_for(process, tmp_path / "run", step=3)
    os.killpg(process.pid, signal.SIGTERM)  # as schedulers do: its workers get it, too
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    step = max(runs.losses(tmp_path / "run"))
    assert list_checkpoints(tmp_path / "run/checkpoints") == [format_checkpoint_name(step)]
    assert "training: stopping after this step, with a checkpoint" in err.splitlines()
    assert out.startswith(f"stopped after step {step:,} of 10,000: ")
    again = f"{recipe} data.workers=1 'checkpoint={{every: 1000, keep: 3}}' --output {tmp_path / 'run'} --resume auto"
    assert out.endswith(f"resume with: python -m training.train {again}\n")


def test_stopped_while_a_reader_makes_no_progress(tokenizer: Path, tmp_path: Path) -> None:
    asked = runs.packed(tmp_path, tokenizer, steps=10_000, data={"workers": 1}, run={"stall_seconds": 0.5})
    process = runs.started(runs.written(tmp_path, asked), "--output", tmp_path / "run")
    runs.wait_for(process, tmp_path / "run", step=2)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for reader in children:
        os.kill(int(reader), signal.SIGSTOP)
    assert process.stderr is not None
    warning = next(line for line in process.stderr if "no progress" in line)
    assert re.match(rf"data: reader 0 \(process {children[0]}\) has made no progress for \d s, at .*\.tar: ", warning)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    step = max(runs.losses(tmp_path / "run"))
    assert list_checkpoints(tmp_path / "run/checkpoints") == [format_checkpoint_name(step)]
    assert out.startswith(f"stopped after step {step:,} of 10,000: ")


def test_names_of_checkpoints_steer_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "step-\x1b[2J").mkdir()
    with pytest.raises(ShardloomError):
        find_latest(tmp_path, ALONE)
    shown = capsys.readouterr().err
    assert shown.startswith(f"{tmp_path}/step-\\x1b[2J is damaged and skipped: ")
    assert "\x1b" not in shown
