"""A run that is killed and taken up again is the run that was not, bit by bit; ranks and workers may be others."""

import shutil
import signal
from pathlib import Path

import pytest

from tests.training.support import runs
from training.export import export_checkpoint
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
    """One that was killed after its first checkpoint, in the middle of a step."""
    folder = tmp_path_factory.mktemp("killed") / "run"
    process = runs.started(recipe, "--output", folder)
    runs.wait_for(process, folder, step=EVERY + 2, checkpoint=EVERY)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (folder / "model").exists()
    return folder


def resumed(killed: Path, folder: Path, recipe: Path, *changes: str, ranks: int = 1) -> Path:
    again = folder / "run"
    shutil.copytree(killed, again)
    ran = runs.ran(recipe, "--output", again, "--resume", "auto", *changes, ranks=ranks)
    assert ran.returncode == 0, ran.stderr
    assert runs.packs(again)[-1][0] == STEPS
    return again


def weights(folder: Path) -> bytes:
    return (folder / "model/model.safetensors").read_bytes()


@pytest.mark.parametrize("workers", [2, 1])
def test_killed_and_taken_up_again(whole: Path, killed: Path, recipe: Path, tmp_path: Path, workers: int) -> None:
    again = resumed(killed, tmp_path, recipe, f"data.workers={workers}")
    assert runs.losses(again) == runs.losses(whole)
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
