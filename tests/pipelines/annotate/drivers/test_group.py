"""A run with several drivers gives the bytes of a run with one, whatever is killed, and repeats little."""

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import yaml

from pipelines.output.totals import read_times
from pipelines.verify.run import verify
from schemas.storage.folder import Folder
from tests.pipelines.support.drivers import TIMEOUT, Driver, hashes, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray")]

SHARDS, SAMPLES, CHUNK, WORKERS = 8, 16, 4, 2
IMAGES = SHARDS * SAMPLES
SECONDS = 0.1  # of an image: a shard takes a worker 1.6 s


@pytest.fixture(scope="module")
def images(make_shards: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_shards(tmp_path_factory.mktemp("images"), SHARDS, SAMPLES)


@pytest.fixture(scope="module")
def undisturbed(images: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What one driver makes of the images."""
    driver = driver_of(tmp_path_factory.mktemp("one"), images, drivers=1)
    finish(driver.start())
    assert driver.calls() == IMAGES
    return hashes(driver.output)


def driver_of(folder: Path, images: str, engine: str = "PixelOcr", drivers: int = 2, **options: object) -> Driver:
    """The command, with this many drivers."""
    driver = Driver(folder, images, engine, **{"workers": WORKERS, "chunk": CHUNK, "seconds": SECONDS} | options)  # type: ignore[arg-type]
    recipe = yaml.safe_load(driver.recipe.read_text())
    recipe["run"]["drivers"] = drivers
    driver.recipe.write_text(yaml.safe_dump(recipe))
    return driver


def finish(process: "subprocess.Popen[str]") -> str:
    """Waits for the end of the run; what it has said."""
    _, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, err
    return err


def check(driver: Driver, undisturbed: dict[str, str], repeated: int) -> None:
    """Checks bytes, accounts and repeated work."""
    assert hashes(driver.output) == undisturbed
    assert verify(str(driver.output)) == (SHARDS, [])
    assert IMAGES <= driver.calls() <= IMAGES + repeated, driver.calls()


def pids(process: "subprocess.Popen[str]", name: str) -> list[int]:
    """The actors of this class, of a local cluster."""
    found = psutil.Process(process.pid).children(recursive=True)
    return [each.pid for each in found if (words := each.cmdline()) and words[0].startswith(f"ray::{name}")]


def shards_done(driver: Driver) -> int:
    return len(list((driver.output / "manifests").glob("*.json")))


@pytest.mark.slow
def test_a_driver_is_killed(images: str, undisturbed: dict[str, str], tmp_path: Path) -> None:
    driver = driver_of(tmp_path, images)
    process = driver.start()
    wait_until(lambda: shards_done(driver) >= 2)
    os.kill(pids(process, "SubDriver")[0], signal.SIGKILL)
    said = finish(process)
    assert re.search(r"^driver [12] of 2 has died and started again; its shards went back$", said, re.MULTILINE), said
    check(driver, undisturbed, repeated=2 * CHUNK)
    times = read_times(Folder(str(driver.output)))
    assert (times.runs, times.shards) == (1, SHARDS)


@pytest.mark.slow
@pytest.mark.parametrize("drivers", [2, 3])
def test_several_drivers(images: str, undisturbed: dict[str, str], tmp_path: Path, drivers: int) -> None:
    driver = driver_of(tmp_path, images, drivers=drivers, workers=3)
    process = driver.start()
    wait_until(lambda: shards_done(driver) >= 2)
    assert len(pids(process, "SubDriver")) == drivers
    assert " has died" not in finish(process)
    check(driver, undisturbed, repeated=0)
    assert not (driver.output / "parts").exists()
    stages = read_times(Folder(str(driver.output))).stages
    assert (stages["ocr"]["images"], stages["ocr"]["chunks"]) == (IMAGES, IMAGES / CHUNK)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Ledger", "ShardQueue", "MapWorker"])
def test_another_process_is_killed(images: str, undisturbed: dict[str, str], tmp_path: Path, name: str) -> None:
    """A driver's ledger, the queue of shards, and a worker."""
    driver = driver_of(tmp_path, images)
    process = driver.start()
    for done in (2, 4):
        wait_until(lambda done=done: shards_done(driver) >= done)
        os.kill(pids(process, name)[0], signal.SIGKILL)
    finish(process)
    check(driver, undisturbed, repeated=2 * 2 * CHUNK if name == "MapWorker" else 0)


@pytest.mark.slow
def test_all_drivers_are_killed_again_and_again(images: str, undisturbed: dict[str, str], tmp_path: Path) -> None:
    driver = driver_of(tmp_path, images)
    process = driver.start()
    kills = 0
    for done in (1, 3, 5):
        wait_until(lambda done=done: shards_done(driver) >= done and len(pids(process, "SubDriver")) == 2)
        for pid in pids(process, "SubDriver"):
            os.kill(pid, signal.SIGKILL)
            kills += 1
    finish(process)
    check(driver, undisturbed, repeated=kills * 2 * CHUNK)


@pytest.mark.slow
def test_the_command_is_killed(images: str, undisturbed: dict[str, str], tmp_path: Path) -> None:
    driver = driver_of(tmp_path, images)
    for done in (2, 4):
        assert driver.kill_when(lambda done=done: shards_done(driver) >= done)
    finish(driver.start())
    check(driver, undisturbed, repeated=2 * WORKERS * 2 * CHUNK)


@pytest.mark.slow
def test_a_driver_that_hangs_is_named(images: str, undisturbed: dict[str, str], tmp_path: Path) -> None:
    driver = driver_of(tmp_path, images, stall_seconds=30)
    driver.environment["CALL_SECONDS"] = "0.5"
    process = driver.start()
    wait_until(lambda: shards_done(driver) >= 2)
    hung = pids(process, "SubDriver")[0]
    os.kill(hung, signal.SIGSTOP)
    _, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1
    assert not psutil.pid_exists(hung)
    *progress, last = err.splitlines()
    line = r"error: no progress for 6\d s: driver [12] of 2 does not answer; finished work is kept; the same command .*"
    assert re.fullmatch(line, last), err
    assert any(re.search(r"; driver [12] of 2 has not answered for \d+ s$", said) for said in progress), err
    finish(driver.start())
    check(driver, undisturbed, repeated=WORKERS * 2 * CHUNK)


@pytest.mark.slow
def test_a_foreseen_error_ends_all_drivers(images: str, tmp_path: Path) -> None:
    driver = driver_of(tmp_path, images, "FailingOcr", width=0)
    process = driver.start()
    _, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1
    line = r"error: the ocr engine failed on \d+ of \d+ images: see the columns .*, or raise max_engine_errors"
    assert re.fullmatch(line, err.splitlines()[-1]), err
