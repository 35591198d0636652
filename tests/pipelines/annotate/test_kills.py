"""Runs that are killed give the same bytes as runs that are not, and repeat little."""

import os
import random
import signal
from pathlib import Path

import pytest

from pipelines.verify.run import verify
from tests.pipelines.support.drivers import NO_TOKEN, Driver, cluster_of, hashes, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray")]

CHUNK, WORKERS = 4, 2
SHARDS, SAMPLES = 2, 112  # of the first two real shards
SLOW = "1.5"  # seconds an image: workers outlive their driver for a moment, and may still finish a faster chunk


@pytest.fixture(scope="module")
def images(data: Path) -> str:
    return f"{data}/datacomp_small/0000000[01].tar"


@pytest.fixture(scope="module")
def undisturbed(images: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    driver = Driver(tmp_path_factory.mktemp("clean"), images, seconds=0.05)
    finished = driver.run()
    assert finished.returncode == 0, finished.stderr
    assert driver.calls() == SAMPLES
    return hashes(driver.output)


def finish(driver: Driver, undisturbed: dict[str, str], kills: int) -> None:
    """Runs to the end and checks bytes, accounts and repeated work."""
    finished = driver.run()
    assert finished.returncode == 0, finished.stderr
    assert verify(str(driver.output)) == (SHARDS, [])
    assert hashes(driver.output) == undisturbed
    repeated = driver.calls() - SAMPLES
    assert 0 < repeated <= kills * WORKERS * 2 * CHUNK, f"{repeated} repeated calls after {kills} kills"


@pytest.mark.slow
def test_ten_kills_of_the_driver(images: str, undisturbed: dict[str, str], tmp_path: Path) -> None:
    driver = Driver(tmp_path, images, seconds=0.05)
    with cluster_of(cpus=4, KILL_ORDER=str(driver.order), CALL_LOG=str(driver.log)) as address:
        driver.environment |= {"RAY_ADDRESS": address, **NO_TOKEN}
        kill_ten_times(driver)
        finish(driver, undisturbed, kills=10)


def kill_ten_times(driver: Driver) -> None:
    points = random.Random(7)
    kills = 0
    for pattern in (r"manifests/.*\.json$", r"data/.*\.parquet$", r"quarantine/.*\.parquet$"):
        driver.order.write_text(pattern)  # the driver dies between the temporary write and the rename
        assert driver.run().returncode == -signal.SIGKILL
        assert not driver.order.exists()
        kills += 1
    while kills < 10:
        target = driver.calls() + points.randint(1, 3)
        assert driver.kill_when(lambda target=target: driver.calls() >= target), "it finished before it could be killed"
        kills += 1


@pytest.mark.slow
def test_kill_of_a_driver_with_its_own_cluster(images: str, undisturbed: dict[str, str], tmp_path: Path) -> None:
    driver = Driver(tmp_path, images, seconds=0.05)
    driver.environment["CALL_SECONDS"] = SLOW
    assert driver.kill_when(lambda: driver.calls() >= 9)
    del driver.environment["CALL_SECONDS"]
    finish(driver, undisturbed, kills=1)


def test_kills_of_engine_workers(images: str, undisturbed: dict[str, str], tmp_path: Path) -> None:
    driver = Driver(tmp_path, images, seconds=0.05)
    process = driver.start()
    for calls in (6, 18, 33):
        wait_until(lambda calls=calls: driver.calls() >= calls)
        os.kill(int(driver.log.read_text().splitlines()[-1]), signal.SIGKILL)
    _, err = process.communicate()
    assert process.returncode == 0, err
    finish(driver, undisturbed, kills=3)


def test_kill_of_a_worker_that_writes(images: str, undisturbed: dict[str, str], tmp_path: Path) -> None:
    driver = Driver(tmp_path, images, seconds=0.05)
    driver.order.write_text(r"parts/.*-000001\+000002\.parquet$")  # dies with a part written and not yet in place
    finished = driver.run()
    assert finished.returncode == 0, finished.stderr
    assert driver.order.with_name("kill-order.taken").exists()
    finish(driver, undisturbed, kills=1)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_says_so_and_goes_on(
    images: str, undisturbed: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    driver = Driver(tmp_path, images, seconds=0.05)
    driver.environment["CALL_SECONDS"] = SLOW
    process = driver.start()
    wait_until(lambda: driver.calls() >= 9)
    process.send_signal(number)
    out, err = process.communicate()
    del driver.environment["CALL_SECONDS"]
    assert (process.returncode, out) == (1, "")
    assert err.splitlines()[-1] == "stopped: finished work is kept; the same command resumes the run", err
    finish(driver, undisturbed, kills=1)
