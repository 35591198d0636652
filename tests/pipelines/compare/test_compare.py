"""`compare` from the command line to its table, with models of some thousand parameters and two steps."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from curation.tasks.task_file import load_task
from pipelines.cli.app import main
from pipelines.compare.design import SECOND, Arm
from pipelines.compare.design import list_trainings as list_designed
from pipelines.compare.folder import list_unanswered
from pipelines.compare.run import Pace
from pipelines.compare.training import train_model
from pipelines.evaluate.open_task import open_task
from schemas.errors import ShardloomError
from tests.conftest import REPOSITORY
from tests.pipelines.compare.conftest import COUNT, Inputs
from tests.support.kills import KillOrder
from tests.training.support import runs
from training.recipe import load_train_recipe

SHOWN = {"questions": {"path": "pictures.jsonl"}, "full_resolution": 1}

Run = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], inputs: Inputs) -> Run:
    """Runs the command on the two recipes and the task; returns its exit code, its result and its errors."""

    def compare(*arguments: object, task: Path | None = inputs.task, second: Path = inputs.second) -> Any:
        words = [str(inputs.first), str(second), *map(str, arguments)]
        with pytest.raises(SystemExit) as done:
            main(["compare", *words, *([] if task is None else ["--task", str(task)])])
        out, err = capsys.readouterr()
        return done.value.code, json.loads(out) if "--json" in arguments and out else out, err

    return compare


@pytest.fixture(scope="module")
def compared(inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a comparison of two seeds, with a null."""
    folder = tmp_path_factory.mktemp("comparison") / "out"
    arguments = ["--task", str(inputs.task), "--output", str(folder), "--seeds", "2", "--null"]
    with pytest.raises(SystemExit) as done:
        main(["compare", str(inputs.first), str(inputs.second), *arguments])
    assert done.value.code == 0
    return folder


def list_trainings(folder: Path) -> list[str]:
    return sorted(str(path.parent.relative_to(folder)) for path in folder.glob("*/*/training.json"))


def test_the_plan_is_checked_without_work(run: Run, tmp_path: Path) -> None:
    code, found, err = run("--output", tmp_path / "out", "--plan", "--null", "--seeds", "2", "--json")
    assert (code, err) == (0, "")
    assert not (tmp_path / "out").exists()
    assert (found["steps"], found["positions"], found["order_difference"]) == ({"a": 2, "b": 2}, 1024, None)
    assert [(one["arm"], one["seed"], one["is_finished"]) for one in found["trainings"]] == [
        *(("a", 0, False), ("b", 0, False), ("null", 1000, False)),
        *(("a", 1, False), ("b", 1, False), ("null", 1001, False)),
    ]
    assert found["tasks"] == [{"name": "pictures", "questions": COUNT, "shots": [0]}]
    code, out, _ = run("--output", tmp_path / "out", "--plan", "--seeds", "2", "steps=3")
    assert code == 0
    assert "budget: 1,536 positions for each training\n" in out
    assert "trainings: 4, of which 0 are finished; to do: A seed 0, B seed 0, A seed 1, B seed 1\n" in out


def test_both_are_trained_in_pairs_and_every_prediction_is_a_row(compared: Path) -> None:
    assert list_trainings(compared) == [
        *("a/seed-0", "a/seed-1", "b/seed-0", "b/seed-1"),
        *("null/seed-1000", "null/seed-1001"),
    ]
    for name in list_trainings(compared):
        assert pq.read_table(compared / name / "predictions/pictures-0shot.parquet").num_rows == COUNT
        assert pq.read_table(compared / name / "quarantine/pictures-0shot.parquet").num_rows == 0
    packs = {name: runs.packs(compared / name / "run") for name in list_trainings(compared)}
    losses = {name: runs.losses(compared / name / "run") for name in packs}
    assert packs["a/seed-0"] == packs["b/seed-0"] != packs["a/seed-1"] == packs["b/seed-1"]
    assert losses["a/seed-0"][1] == losses["b/seed-0"][1]  # the same new weights
    assert losses["a/seed-0"][2] != losses["b/seed-0"][2]
    assert losses["null/seed-1000"][1] not in (losses["a/seed-0"][1], losses["a/seed-1"][1])
    found = json.loads((compared / "comparison.json").read_text())
    assert found["seen"]["a"] == found["seen"]["b"]
    assert found["positions"] == 1024


def test_the_same_command_trains_nothing_again(compared: Path, run: Run) -> None:
    before = {path: path.stat().st_mtime_ns for path in compared.rglob("*") if path.is_file()}
    code, out, _ = run("--output", compared, "--seeds", "2", "--null")
    assert code == 0
    after = {path: path.stat().st_mtime_ns for path in compared.rglob("*") if path.is_file()}
    assert {path.name for path in after if after[path] != before.get(path)} == {"comparison.json"}
    words = " ".join(out.replace("─", "").split())
    assert words.startswith("task figure shots questions A B B - A seen - A pictures cer 0 6") or "B - A" in words
    assert "each 2 trainings figures in %" in words
    assert "order: for one seed, both recipes show the same samples in the same order" in words


def test_more_seeds_and_tasks_are_added_and_others_refused(compared: Path, run: Run, inputs: Inputs) -> None:
    more = inputs.write_task("more", 2)
    code, found, err = run("--output", compared, "--seeds", "2", "--null", "--json", task=more)
    assert code == 0
    assert [task["name"] for task in found["tasks"]] == ["more-0shot"]
    assert "training 1 of" not in err
    changed = inputs.write_task("pictures", max_new_tokens=4)
    code, _, err = run("--output", compared, "--seeds", "2", task=changed)
    inputs.write_task("pictures")
    assert code == 2
    assert f"{compared} has answers to another task pictures (max_new_tokens is 3 there and 4 here): pass" in err
    code, _, err = run("--output", compared, "steps=3")
    assert code == 2
    assert f"{compared} compares another recipe a (steps is 2 there and 3 here): pass a new --output" in err


def test_wrong_use_is_one_line(run: Run, inputs: Inputs, tmp_path: Path) -> None:
    longer = inputs.write_recipe("longer", steps=3)
    absent = inputs.write_recipe("absent", data={"sources": dict.fromkeys(("captions", "docs", "text"), "nowhere")})
    short = inputs.write_recipe("short", data={"stop": 10})
    same = inputs.write_recipe("same", seed=7, checkpoint={"every": 5})
    text = {"sources": {"text": inputs.recipe.data.sources["text"]}, "weights": {"text": 1}, "repeats": {"text": None}}
    blind = inputs.write_recipe("blind", model=inputs.recipe.model.model_dump() | {"vision": None}, data=text)
    held = inputs.write_recipe("held", data={"held_out": {"share": 1e-9}})
    thumbnails = inputs.write_task("thumbnails", shots=[1], demonstrations=SHOWN)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/note.txt").write_text("mine")
    out = tmp_path / "out"
    cases: list[tuple[list[object], dict[str, Any], str]] = [
        (["--output", out], {"task": None}, "compare: pass --task, a task file, and --output"),
        ([], {}, "compare: pass --task, a task file, and --output"),
        (["--output", out, "--seeds", 1], {}, "--seeds 1: an interval needs at least 2 seeds"),
        (["--output", out], {"task": inputs.folder / "no.yaml"}, f"cannot read recipe {inputs.folder}/no.yaml"),
        (["--output", out, "--task", inputs.task], {}, "--task: two tasks have the name pictures"),
        (["--output", out], {"second": longer}, f"the budgets are unequal: {inputs.first} trains on 1,024 positions"),
        (["--output", out], {"second": absent}, f"{absent}: source captions: "),
        (["--output", out], {"second": short}, f"{short}: its data run out after 1 of 2 steps"),
        (["--output", out], {"second": inputs.task}, f"recipe {inputs.task}"),
        (
            ["--output", out],
            {"second": inputs.first},
            f"{inputs.first} and {inputs.first} are the same recipe",
        ),
        (["--output", out], {"second": same}, f"{inputs.first} and {same} are the same recipe"),
        (
            ["--output", out],
            {"second": blind},
            f"{blind}: task pictures: evaluate: this model has no",
        ),
        (
            ["--output", out],
            {"second": held},
            f"{held}: data.held_out: it holds out no sample that can",
        ),
        (["--output", out], {"task": thumbnails}, f"{inputs.first}: task thumbnails: demonstrations.full_resolution: "),
        (
            ["--output", out, "data.seed=3"],
            {},
            "data.seed=3: compare sets the seeds and folders",
        ),
        (["--output", out, "run.output=x"], {}, "run.output=x: compare sets the seeds and folders"),
        (["--output", tmp_path / "full"], {}, f"{tmp_path}/full is not empty and holds no comparison.yaml"),
        (["--output", "s3://bucket/out"], {}, "--output s3://bucket/out: trainings need a folder on a disk"),
    ]
    for arguments, more, message in cases:
        code, printed, err = run(*arguments, **more)
        assert (code, printed) == (2, ""), message
        assert err.startswith(f"error: {message}"), err
        assert err.count("\n") == 1
        assert not out.exists()


def test_what_is_not_whole_is_done_again(inputs: Inputs, compared: Path, tmp_path: Path) -> None:
    """A training of fewer steps than it should have is an error, and answers without their quarantine are none."""
    shutil.copytree(compared, tmp_path / "out")
    arms = [Arm(SECOND, str(inputs.second), load_train_recipe(str(inputs.second)))]
    (training,) = list_designed(arms, [0], str(tmp_path / "out"))
    task = open_task(load_task(str(inputs.task)))
    assert list_unanswered(training, [task]) == []
    (training.folder / "quarantine/pictures-0shot.parquet").unlink()
    assert list_unanswered(training, [task]) == [(task, 0)]
    with pytest.raises(ShardloomError, match=r"^b with seed 0: its data ran out after 2 of 3 steps, "):
        train_model(training, 3, ranks=1)
    assert train_model(training, 2, ranks=1).seen["positions"] == 1024


def test_a_training_that_diverges_is_named(inputs: Inputs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The finished one of the pair stays; the same command would resume the other."""
    wild = inputs.write_recipe("wild", optimizer={"lr": {"connector": 1e30, "language": 1e30}})
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as done:
        main(["compare", str(wild), str(inputs.first), "--task", str(inputs.task), "--output", str(out)])
    assert done.value.code == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: a with seed 0: step 2, rank 0: the loss is nan, the step was not taken: ")
    assert list_trainings(out) == []


def test_the_time_left_is_estimated_from_what_was_measured() -> None:
    pace = Pace()
    assert pace.describe_left(2, 2) == pace.describe_left(0, 2) == ""
    pace.training += [100.0, 140.0]
    pace.evaluation.append(30.0)
    assert pace.describe_left(2, 2) == "; about 0:05:00 left"
    assert pace.describe_left(0, 1) == "; about 0:00:30 left"


@pytest.mark.slow
def test_a_killed_comparison_resumes_where_it_was(inputs: Inputs, compared: Path, tmp_path: Path) -> None:
    """Killed as a training's mark and then as a file of predictions was written; the scores are those of the other."""
    folder = tmp_path / "out"
    words = [str(inputs.first), str(inputs.second), "--task", str(inputs.task), "--output", str(folder)]
    command = [sys.executable, "-m", "pipelines.compare", *words, "--seeds", "2", "--null"]
    order = KillOrder(tmp_path / "order")
    marks: dict[str, int] = {}
    for target in (r"b/seed-0/training\.json$", r"a/seed-1/predictions/pictures-0shot\.parquet$"):
        order.give(target)
        environment = os.environ | order.environment
        ended = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=600)
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        order.read_kill().check_half_written()
        kept = {name: (folder / name / "training.json").stat().st_mtime_ns for name in list_trainings(folder)}
        assert marks.items() <= kept.items(), "a finished training is not repeated"
        marks = kept
    assert sorted(marks) == ["a/seed-0", "a/seed-1", "b/seed-0", "null/seed-1000"]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=600, check=True)
    assert "training 1 of 6" not in ended.stderr
    assert "training 5 of 6, b with seed 1; about " in ended.stderr
    whole, resumed = (json.loads((place / "comparison.json").read_text()) for place in (compared, folder))
    assert resumed["tasks"] == whole["tasks"]


@pytest.mark.slow
def test_trainings_on_two_ranks(inputs: Inputs, compared: Path, tmp_path: Path) -> None:
    """Their losses are those of one process, but for rounding."""
    words = [str(inputs.first), str(inputs.second), "--task", str(inputs.task), "--output", str(tmp_path / "out")]
    command = [sys.executable, "-m", "pipelines.compare", *words, "--seeds", "2", "--ranks", "2", "--json"]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stderr
    for name in ("a/seed-0", "b/seed-1"):
        one, two = runs.losses(compared / name / "run"), runs.losses(tmp_path / "out" / name / "run")
        assert [loss for loss, _ in two.values()] == pytest.approx([loss for loss, _ in one.values()], abs=1e-5)
    whole, found = (json.loads((place / "comparison.json").read_text()) for place in (compared, tmp_path / "out"))
    assert found["seen"] == {arm: whole["seen"][arm] for arm in ("a", "b")}
