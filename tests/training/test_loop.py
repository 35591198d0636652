"""A run from its start to its end, and what it refuses before it begins."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch

from schemas.errors import ShardloomError, UsageError
from schemas.output_set.lock import lock_output
from schemas.output_set.recipe_file import RECIPE_FILE
from schemas.storage.folder import Folder
from tests.training.support import runs
from tests.training.support.sets import captioned, document, write_set
from training.checkpoint import load_checkpoint, open_checkpoint
from training.loop import TrainResult, train
from training.metrics import read_metrics
from training.model.pretrained import load_pretrained
from training.parallel import Ranks
from training.recipe import TrainRecipe, find_resume_conflicts, load_train_recipe
from training.set_up import prepare_model

SAID = {"step", "loss", "losses", "lr", "gradient_norm", "labels", "tokens", "positions", "images", "tiles", "samples"}
SAID |= {"bad_samples", "left_out", "split", "cursor", "seconds", "tokens_per_second", "images_per_second", "padding"}
SAID |= {"data_wait", "mfu", "memory"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("loop")


@pytest.fixture(scope="module")
def asked(folder: Path, tokenizer: Path) -> TrainRecipe:
    return runs.packed(folder, tokenizer, steps=6, run={"output": str(folder / "run")}, checkpoint={"every": 4})


@pytest.fixture(scope="module")
def done(asked: TrainRecipe) -> TrainResult:
    return train(asked)


def changed(asked: TrainRecipe, **changes: object) -> TrainRecipe:
    return TrainRecipe.model_validate(asked.model_dump() | changes)


def test_what_a_run_leaves(done: TrainResult, asked: TrainRecipe, folder: Path) -> None:
    assert (done.step, done.status, done.model_folder) == (6, "done", folder / "run/model")
    assert sorted(path.name for path in done.folder.iterdir()) == [
        "checkpoints",
        "metrics.jsonl",
        "model",
        "recipe.yaml",
        "report.html",
    ]
    assert sorted(path.name for path in (done.folder / "checkpoints").iterdir()) == ["step-00000004", "step-00000006"]
    again = load_train_recipe(str(done.folder / RECIPE_FILE))
    assert again.resolve() == asked.resolve()
    lines = read_metrics(done.folder)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert all(line.keys() == SAID for line in lines)
    assert done.losses == lines[-1]["losses"]
    assert set(done.losses) <= {"captions", "docs", "text"}
    for name in ("labels", "tokens", "images", "samples", "bad_samples"):
        assert done.seen[name] == sum(line[name] for line in lines)
    assert all(line["positions"] == 4 * 128 for line in lines)
    assert all(line["padding"] == 1 - line["tokens"] / 512 for line in lines)


def test_the_export_is_the_model(done: TrainResult, asked: TrainRecipe) -> None:
    assert done.model_folder is not None
    model, _ = load_pretrained(done.model_folder)
    held = runs.trainer(asked)
    commit = json.loads((done.folder / "checkpoints/step-00000006/commit.json").read_text())
    assert commit["step"] == 6
    with torch.no_grad():
        batch = runs.batch(1)
        assert not torch.equal(model(batch), held.model.eval()(batch))
        load_checkpoint(
            open_checkpoint(done.folder / "checkpoints/step-00000006", Ranks()), held.model, held.optimizer, Ranks()
        )
        assert torch.equal(model(batch), held.model(batch))


def test_a_stage_starts_from_an_export(done: TrainResult, asked: TrainRecipe) -> None:
    model = prepare_model(changed(asked, init_from=str(done.model_folder)))
    assert done.model_folder is not None
    exported = load_pretrained(done.model_folder)[0].state_dict()
    assert all(torch.equal(tensor, exported[name]) for name, tensor in model.state_dict().items())


def test_a_run_that_is_done_stays_done(done: TrainResult, asked: TrainRecipe) -> None:
    again = train(asked, resume="auto")
    assert (again.step, again.status, again.losses, again.seen) == (6, "done", done.losses, done.seen)


def test_the_folder_of_a_run_is_its_own(done: TrainResult, asked: TrainRecipe, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match="holds this run already: pass --resume auto to resume it, or a new --output to start"
    ):
        train(asked)
    other = changed(asked, seed=3, steps=5)
    with pytest.raises(
        UsageError, match=r"holds another run \(steps is 6 there and 5 here; seed is 0 there and 3 here\)"
    ):
        train(other, resume="auto")
    (tmp_path / "something").touch()
    with pytest.raises(UsageError, match=r"is not empty and holds no recipe.yaml: pass a new --output"):
        train(changed(asked, run={"output": str(tmp_path)}))
    elsewhere = changed(asked, steps=5, run={"output": str(tmp_path / "new")})
    with pytest.raises(UsageError, match=r"step-00000006 belongs to another run: steps is 6 there and 5 here"):
        train(elsewhere, resume=str(done.folder / "checkpoints/step-00000006"))


def test_a_run_with_a_constant_rate_goes_on(done: TrainResult, asked: TrainRecipe, tmp_path: Path) -> None:
    """To more steps, as if it had been asked for them at first; the end of another schedule moves none."""
    run = {"output": str(tmp_path / "run")}
    train(changed(asked, steps=4, run=run))
    longer = changed(asked, run=run)
    again = train(longer, resume="auto")
    assert (again.step, again.losses, again.seen) == (6, done.losses, done.seen)
    name = "model/model.safetensors"
    assert (again.folder / name).read_bytes() == (done.folder / name).read_bytes()
    assert load_train_recipe(str(again.folder / RECIPE_FILE)).steps == 6
    cosine = {"shape": "cosine", "warmup_steps": 0}
    assert find_resume_conflicts(
        changed(asked, schedule=cosine).resolve(), changed(asked, schedule=cosine, steps=9).resolve()
    ) == ["steps is 6 there and 9 here"]


def test_a_folder_that_another_run_writes_to(done: TrainResult, asked: TrainRecipe) -> None:
    with (
        lock_output(Folder(str(done.folder)), "train"),
        pytest.raises(
            UsageError, match=rf"^train \(process {os.getpid()} on .*\) is writing to {done.folder}: wait for it"
        ),
    ):
        train(asked, resume="auto")


def test_data_that_runs_out(asked: TrainRecipe, tmp_path: Path) -> None:
    data = asked.data.model_dump() | {"stop": 60}
    result = train(changed(asked, data=data, run={"output": str(tmp_path / "run")}))
    assert (result.step, result.status, result.seen["samples"]) == (3, "no data", 60)
    assert result.model_folder is not None


def test_what_was_left_out_is_counted(tokenizer: Path, tmp_path: Path) -> None:
    """Whatever steps have a line, and over a pause."""
    asked = runs.packed(tmp_path, tokenizer, steps=9, data={"sequence_length": 32}, checkpoint={"every": 5})
    shutil.rmtree(tmp_path / "sets/docs")
    long = [document(n, ["q" * 70, "a"], ["user", "assistant"]) for n in range(9)]
    write_set(tmp_path / "sets/docs", [*long, *(document(n, ["short"]) for n in range(9, 24))])
    each, some = (
        train(changed(asked, run={"output": str(tmp_path / name), "log_every": every}))
        for name, every in (("each", 1), ("some", 4))
    )
    told = [(line["step"], line["left_out"], line["split"]) for line in read_metrics(each.folder)]
    assert told[0][1] != told[-1][1]
    assert [(line["step"], line["left_out"], line["split"]) for line in read_metrics(some.folder)] == [
        told[step - 1] for step in (4, 8, 9)
    ]
    shutil.rmtree(some.folder / "checkpoints/step-00000009")
    ran = runs.ran(runs.written(tmp_path, asked), "--output", some.folder, "--resume", "auto")
    assert f"\nleft out: docs.too_long {told[-1][1]['docs.too_long']}\nsplit: " in ran.stdout, ran
    assert json.loads((some.folder / "checkpoints/step-00000009/commit.json").read_text())["seen"] == each.seen


def test_a_run_that_goes_back(done: TrainResult, asked: TrainRecipe, capsys: pytest.CaptureFixture[str]) -> None:
    """Killed right after, it would else go on from where it was before."""
    folder = done.folder.with_name("back")
    shutil.copytree(done.folder, folder)
    first, last = (folder / f"checkpoints/step-{step:08d}" for step in (4, 6))
    back = changed(asked, data=asked.data.model_dump() | {"max_bad_samples": 0.5}, run={"output": str(folder)})
    again = train(back, resume=str(first))
    assert (again.step, again.losses, again.seen) == (6, done.losses, done.seen)
    removed, *_ = capsys.readouterr().err.splitlines()
    assert removed == f"{last} is removed: the run resumes from step 4"


def test_changed_data(tokenizer: Path, tmp_path: Path) -> None:
    asked = runs.packed(tmp_path, tokenizer, steps=3, run={"output": str(tmp_path / "run")}, checkpoint={"every": 2})
    train(asked)
    shutil.rmtree(tmp_path / "sets/captions")
    write_set(tmp_path / "sets/captions", [captioned(n, "another text") for n in range(24)])
    said = (
        "data: source captions has changed since this run started, so its order can't continue: "
        "restore it, or start again with another --output"
    )
    with pytest.raises(UsageError, match=said):
        train(asked, resume="auto")


def test_another_tower(tokenizer: Path, tmp_path: Path) -> None:
    """One that is frozen is not saved; so it has to be the same."""
    asked = runs.packed(tmp_path, tokenizer, steps=2, run={"output": str(tmp_path / "run")})
    train(asked)
    path = tmp_path / "run/checkpoints/step-00000002/commit.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"frozen": "0" * 64}))
    with pytest.raises(UsageError, match="the frozen weights are not those of its run; load the same ones"):
        train(asked, resume="auto")


def test_spoilt_samples(tokenizer: Path, tmp_path: Path) -> None:
    asked = runs.packed(tmp_path, tokenizer, steps=2, global_batch_size=8, run={"output": str(tmp_path / "run")})
    shard = tmp_path / "sets/captions/data/00000001.tar"
    data = bytearray(shard.read_bytes())
    data[512:700] = bytes(188)  # into the first image
    shard.write_bytes(data)
    result = train(asked)
    assert result.seen["bad_samples"] > 0
    faults = [json.loads(line) for line in (tmp_path / "run/bad_samples.jsonl").read_text().splitlines()]
    assert len(faults) == result.seen["bad_samples"]
    assert {(fault["source"], fault["shard"], fault["key"]) for fault in faults} == {
        ("captions", str(shard), "c000004")
    }
    none = changed(asked, data=asked.data.model_dump() | {"max_bad_samples": 0}, run={"output": str(tmp_path / "none")})
    with pytest.raises(
        ShardloomError, match=r"samples can't be read, more than data.max_bad_samples \(0\): .*bad_samples.jsonl"
    ):
        train(none)


def test_a_shard_that_vanished(tokenizer: Path, tmp_path: Path) -> None:
    asked = runs.packed(tmp_path, tokenizer, steps=9, data={"workers": 0}, run={"output": str(tmp_path / "run")})
    (tmp_path / "sets/captions/data/00000001.tar").unlink()
    with pytest.raises(ShardloomError, match=r"captions/data/00000001.tar"):
        train(asked)


def test_a_reader_that_is_killed(tokenizer: Path, tmp_path: Path) -> None:
    """Wherever the trainer is at that time: mostly in a backward pass."""
    asked = runs.packed(tmp_path, tokenizer, steps=10_000, data={"workers": 1}, run={"output": str(tmp_path / "run")})
    process = runs.started(runs.written(tmp_path, asked))
    runs.wait_for(process, tmp_path / "run", step=3)
    for reader in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        os.kill(int(reader), signal.SIGKILL)
    _, told = process.communicate(timeout=300)
    assert process.returncode == 1, told
    assert "Traceback" not in told
    assert "error: data: a loader worker died, perhaps for lack of memory: " in told


def test_a_board_that_is_not_installed(asked: TrainRecipe, tmp_path: Path) -> None:
    run = {"output": str(tmp_path / "run"), "log_to": ["wandb"]}
    with pytest.raises(UsageError, match=r"run\.log_to: wandb is not installed; pip install wandb, or leave it out"):
        train(changed(asked, run=run))


def test_the_command(asked: TrainRecipe, tmp_path: Path) -> None:
    recipe = runs.written(tmp_path, asked)
    ran = runs.ran(recipe, "steps=many")
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1
    assert ran.stderr.startswith(f"error: recipe {recipe}: steps: ")
    ran = runs.ran(recipe, "--ranks", 8)
    said = "error: --ranks needs --dry-run: to train, start ranks with torchrun --nproc-per-node 8\n"
    assert (ran.returncode, ran.stderr) == (2, said)
    ran = runs.ran(recipe, "--frobnicate")
    assert (ran.returncode, ran.stderr) == (2, "error: No such option: --frobnicate (see --help)\n")
    ran = runs.ran("--help")
    assert ran.returncode == 0
    assert "Examples: python -m training.train " in ran.stdout
    assert "130 when interrupted twice" in " ".join(ran.stdout.split())
