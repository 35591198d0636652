"""A run that is killed and taken up again is the run that was not, bit by bit; ranks and workers may be others."""

import shutil
from pathlib import Path

import pytest

from schemas.storage.disk import TEMPORARY
from tests.support.kills import KillOrder
from tests.training.support import runs
from training.checkpoint import COMMIT_FILE, format_checkpoint_name
from training.export import export_checkpoint
from training.metrics import METRICS_FILE
from training.recipe import TrainRecipe

STEPS, EVERY = 40, 10


@pytest.fixture(scope="module")
def asked(tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainRecipe:
    return runs.packed(tmp_path_factory.mktemp("data"), tokenizer, steps=STEPS, checkpoint={"every": EVERY, "keep": 9})


@pytest.fixture(scope="module")
def recipe(asked: TrainRecipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.written(tmp_path_factory.mktemp("recipe"), asked)


@pytest.fixture(scope="module")
def whole(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without a pause."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    ran = runs.ran(recipe, "--output", folder)
    assert ran.returncode == 0, ran.stderr
    return folder


@pytest.fixture(scope="module")
def killed(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that was killed as it wrote the `commit.json` of its second checkpoint, while it went on to further steps."""
    folder = tmp_path_factory.mktemp("killed") / "run"
    (order := KillOrder(folder.with_name("order"))).give(rf"{format_checkpoint_name(2 * EVERY)}/{COMMIT_FILE}$")
    kill = runs.run_until_killed(order, recipe, "--output", folder)
    kill.check_half_written()
    check_killed_in_second_checkpoint(folder)
    return folder


def check_killed_in_second_checkpoint(folder: Path) -> None:
    """Checks that the steps after the first checkpoint are lost, and that no other one has its name."""
    assert runs.packs(folder)[-1][0] >= 2 * EVERY
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == [
        f"{TEMPORARY}{format_checkpoint_name(2 * EVERY)}",
        format_checkpoint_name(EVERY),
    ]
    assert not (folder / "model").exists()


def resumed(killed: Path, folder: Path, recipe: Path, *changes: str, ranks: int = 1) -> Path:
    again = folder / "run"
    shutil.copytree(killed, again)
    kept = (again / METRICS_FILE).read_bytes().splitlines()[:EVERY]
    ran = runs.ran(recipe, "--output", again, "--resume", "auto", *changes, ranks=ranks)
    assert ran.returncode == 0, ran.stderr
    assert (again / METRICS_FILE).read_bytes().splitlines()[:EVERY] == kept, "steps before the checkpoint"
    assert runs.packs(again)[-1][0] == STEPS
    assert not list((again / "checkpoints").glob(f"{TEMPORARY}*"))
    return again


def weights(folder: Path) -> bytes:
    return (folder / "model/model.safetensors").read_bytes()


def test_killed_inside_two_checkpoints(whole: Path, killed: Path, recipe: Path, tmp_path: Path) -> None:
    """The second time the checkpoint is complete but for its name, and does not count either."""
    folder = tmp_path / "killed"
    shutil.copytree(killed, folder)
    (order := KillOrder(tmp_path / "order")).give(rf"checkpoints/{format_checkpoint_name(2 * EVERY)}$")
    kill = runs.run_until_killed(order, recipe, "--output", folder, "--resume", "auto")
    assert (kill.written / COMMIT_FILE).is_file()
    check_killed_in_second_checkpoint(folder)
    losses = runs.losses(whole)
    assert runs.losses(folder).items() <= losses.items(), "of the run after the first kill"
    again = resumed(folder, tmp_path, recipe, "data.workers=1")
    assert runs.losses(again) == losses
    assert runs.packs(again) == runs.packs(whole)
    assert weights(again) == weights(whole)


@pytest.mark.slow
def test_taken_up_by_two_ranks(whole: Path, killed: Path, recipe: Path, tmp_path: Path) -> None:
    again = resumed(killed, tmp_path, recipe, ranks=2)
    assert runs.packs(again) == runs.packs(whole)
    theirs = runs.losses(whole)
    for step, (loss, losses) in runs.losses(again).items():
        assert loss == pytest.approx(theirs[step][0], abs=1e-5)
        assert losses == pytest.approx(theirs[step][1], abs=1e-5)


def test_a_run_of_two_ranks_is_taken_up_by_one(whole: Path, recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert runs.ran(recipe, "--output", folder, "parallel=fsdp", ranks=2).returncode == 0
    exported = export_checkpoint(str(folder), output=str(tmp_path / "exported"))  # of what two ranks have written
    assert (exported / "model.safetensors").read_bytes() == weights(folder)
    for step in (20, 30, 40):
        shutil.rmtree(folder / f"checkpoints/step-{step:08d}")
    ran = runs.ran(recipe, "--output", folder, "--resume", "auto")
    assert ran.returncode == 0, ran.stderr
    theirs = runs.losses(whole)
    assert runs.packs(folder) == runs.packs(whole)
    for step, (loss, _) in runs.losses(folder).items():
        assert loss == pytest.approx(theirs[step][0], abs=1e-5)
