"""Runs that are killed give the same bytes as runs that are not, and repeat only what was being worked on.

The shards are drawn, with images that cannot be decoded among them. What a kill may repeat is counted exactly: the next
run annotates each image that is in no whole part and in no committed shard, and no other.
"""

import random
import signal
from pathlib import Path

import pytest

from pipelines.demo.shards import write_shards
from pipelines.verify.run import verify
from schemas.storage.folder import Folder
from tests.pipelines.support.drivers import NO_TOKEN, Driver, cluster_of, hashes, wait_until
from tests.pipelines.support.sets import in_process

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray")]

CHUNK, WORKERS = 4, 2
SHARDS, SAMPLES = 2, 24  # in each shard
READABLE = SHARDS * SAMPLES - 2  # one is no image, and one is cut short
SLOW = "1.5"  # seconds an image: workers outlive their driver for a moment, and may still finish a faster chunk


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("images")
    write_shards(Folder(str(folder)), SHARDS * SAMPLES, SAMPLES)
    return f"{folder}/*.tar"


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What engines write their calls to; it is a setting of theirs, so all runs must have the same."""
    return tmp_path_factory.mktemp("calls") / "calls.log"


@pytest.fixture(scope="module")
def undisturbed(images: str, log: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    made = make_driver(tmp_path_factory.mktemp("clean"), images, log)
    finish(made)
    assert made.calls() == READABLE
    return hashes(made.output)


@pytest.fixture
def driver(images: str, log: Path, tmp_path: Path) -> Driver:
    """The run of `undisturbed`, into another folder; no call is counted yet."""
    return make_driver(tmp_path, images, log)


def make_driver(folder: Path, images: str, log: Path) -> Driver:
    log.write_text("")
    made = Driver(folder, images, "DyingOcr", chunk=CHUNK, workers=WORKERS, seconds=0.02, log=str(log))
    made.log = log
    return made


def finish(driver: Driver) -> None:
    """Runs to the end in this process, whose Ray other tests have started."""
    finished = in_process("annotate", *driver.arguments)
    assert finished.returncode == 0, finished.stderr


def finish_after_kill(driver: Driver, undisturbed: dict[str, str]) -> None:
    """Runs to the end, and checks the bytes and that nothing of what was kept is repeated."""
    kept, calls = driver.count_kept(), driver.calls()
    finish(driver)
    assert driver.calls() - calls == READABLE - kept
    check(driver, undisturbed)


def check(driver: Driver, undisturbed: dict[str, str]) -> None:
    assert verify(str(driver.output)) == (SHARDS, [])
    assert hashes(driver.output) == undisturbed


def test_workers_are_killed(driver: Driver, undisturbed: dict[str, str], tmp_path: Path) -> None:
    """One at the second image of a chunk, and one inside the commit of a part: each repeats its own chunk alone."""
    (order := tmp_path / "call-kill").write_text("2")
    driver.environment["CALL_KILL"] = str(order)
    driver.order.give(r"parts/00000001-000001\.parquet$")
    finished = driver.run()
    assert finished.returncode == 0, finished.stderr
    assert not order.exists()
    assert str(driver.order.read_kill().process) in driver.log.read_text().splitlines(), "an engine's worker"
    assert driver.calls() - READABLE == 2 + CHUNK
    check(driver, undisturbed)


@pytest.mark.slow
def test_a_kill_inside_the_commit_of_a_part(driver: Driver, undisturbed: dict[str, str]) -> None:
    """The driver is killed as well: half of a part is there when the next run begins."""
    driver.order.give(r"parts/00000001-000001\.parquet$")
    assert driver.kill_when(driver.order.is_taken)
    kept = driver.count_kept()
    driver.order.read_kill().check_half_written()
    assert CHUNK <= driver.calls() - kept <= WORKERS * CHUNK
    assert SAMPLES < kept < READABLE
    finish_after_kill(driver, undisturbed)


def test_a_kill_between_data_and_manifest(driver: Driver, undisturbed: dict[str, str]) -> None:
    driver.order.give(r"manifests/00000000\.json$")
    assert driver.run().returncode == -signal.SIGKILL
    kept = driver.count_kept()
    driver.order.read_kill().check_half_written()
    assert hashes(driver.output)[data := "data/00000000.parquet"] == undisturbed[data]
    assert driver.calls() - kept <= WORKERS * CHUNK
    assert kept >= SAMPLES - 2
    finish_after_kill(driver, undisturbed)


@pytest.mark.slow
def test_ten_kills_of_the_driver(driver: Driver, undisturbed: dict[str, str]) -> None:
    with cluster_of(cpus=4, **driver.order.environment) as address:
        driver.environment |= {"RAY_ADDRESS": address, **NO_TOKEN}
        kill_ten_times(driver)
    finish_after_kill(driver, undisturbed)


def kill_ten_times(driver: Driver) -> None:
    """Checks after each kill that no more is lost than what each worker was working on."""
    points = random.Random(7)
    kept = lost = kills = 0

    def count_lost() -> None:
        nonlocal kept, lost, kills
        before, kept = kept, driver.count_kept()
        assert kept >= before
        assert driver.calls() - kept - lost <= WORKERS * CHUNK
        lost, kills = driver.calls() - kept, kills + 1

    for pattern in (r"manifests/.*\.json$", r"data/.*\.parquet$", r"quarantine/.*\.parquet$"):
        driver.order.give(pattern)
        assert driver.run().returncode == -signal.SIGKILL
        assert driver.order.read_kill().written.is_file()
        count_lost()
    while kills < 10:
        target = driver.calls() + points.randint(1, 3)
        assert driver.kill_when(lambda target=target: driver.calls() >= target), "it finished before it could be killed"
        count_lost()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_says_so_and_goes_on(driver: Driver, undisturbed: dict[str, str], number: signal.Signals) -> None:
    driver.environment["CALL_SECONDS"] = SLOW
    process = driver.start()
    wait_until(lambda: driver.calls() >= 17)
    process.send_signal(number)
    out, err = process.communicate()
    assert (process.returncode, out) == (1, "")
    assert err.splitlines()[-1] == "stopped: finished work is kept; the same command resumes the run", err
    lost = driver.calls() - driver.count_kept()
    assert 0 < lost <= WORKERS * CHUNK
    finish_after_kill(driver, undisturbed)
