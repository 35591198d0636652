"""Several drivers on a simulated cluster: pools grow to their maximum, and a lost node costs no byte."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray
import yaml
from ray.cluster_utils import Cluster

from pipelines.verify.run import verify
from tests.conftest import REPOSITORY
from tests.pipelines.support.drivers import NO_TOKEN, TIMEOUT, Driver, free_ports, hashes, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray"), pytest.mark.slow]

SHARDS, SAMPLES, CHUNK = 14, 16, 4
IMAGES = SHARDS * SAMPLES
PORTS = ("metrics_agent_port", "dashboard_agent_listen_port", "runtime_env_agent_port")


@pytest.fixture(scope="module")
def images(make_shards: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_shards(tmp_path_factory.mktemp("images"), SHARDS, SAMPLES)


@pytest.fixture(scope="module")
def undisturbed(images: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    driver = Driver(tmp_path_factory.mktemp("one"), images, "PlacedOcr", chunk=CHUNK)
    finished = driver.run()
    assert finished.returncode == 0, finished.stderr
    return hashes(driver.output)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A head without GPUs. Engines take half a second for an image."""
    told = {"CALL_LOG": str(tmp_path / "calls.log"), "CALL_SECONDS": "0.5", "RAY_prestart_worker_first_driver": "0"}
    for name, value in {**NO_TOKEN, **told, "PYTHONPATH": str(REPOSITORY)}.items():
        monkeypatch.setenv(name, value)
    ray.shutdown()
    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 2} | ports())
    try:
        yield started
    finally:
        started.shutdown()


def ports() -> dict[str, int]:
    return dict(zip(PORTS, free_ports(len(PORTS)), strict=True))


def driver_on(cluster: Cluster, folder: Path, images: str, drivers: int, **ocr: float) -> Driver:
    """The command, with what is told of the workers that read texts."""
    resources = {"ocr": {"cpus": 0.25} | ocr}
    driver = Driver(
        folder, images, "PlacedOcr", address=cluster.address, resources=resources, stall_seconds=40, chunk=CHUNK
    )
    recipe = yaml.safe_load(driver.recipe.read_text())
    recipe["run"]["drivers"] = drivers
    driver.recipe.write_text(yaml.safe_dump(recipe))
    return driver


def processes(driver: Driver) -> set[str]:
    """The workers that have read an image."""
    return {line.split(" ")[1] for line in driver.log.read_text().splitlines()}


def test_pools_grow_in_each_driver(images: str, undisturbed: dict[str, str], cluster: Cluster, tmp_path: Path) -> None:
    """Three drivers on two GPUs, of which Ray Data's own division leaves none to each."""
    cluster.add_node(num_cpus=2, num_gpus=2, **ports())
    driver = driver_on(cluster, tmp_path, images, 3, min=3, max=6, gpus=0.25)
    finished = driver.run()
    assert finished.returncode == 0, finished.stderr
    assert (hashes(driver.output), verify(str(driver.output))) == (undisturbed, (SHARDS, []))
    assert (driver.calls(), len(processes(driver))) == (IMAGES, 6)


def test_a_node_is_lost(images: str, undisturbed: dict[str, str], cluster: Cluster, tmp_path: Path) -> None:
    """One driver's worker was there and has no other place: its shards go to the other driver, which has work left."""
    cluster.add_node(num_cpus=1, num_gpus=1, **ports())
    lost = cluster.add_node(num_cpus=1, num_gpus=1, **ports())
    driver = driver_on(cluster, tmp_path, images, 2, workers=2, gpus=1)
    process = driver.start()
    wait_until(lambda: len(processes(driver)) == 2 and driver.calls() >= IMAGES // 8)
    cluster.remove_node(lost, allow_graceful=False)
    _, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, err
    line = r"driver [12] of 2 ends, and the others take its shards: no progress for 4\d s: .*; 1 of 3 nodes are lost"
    assert any(re.fullmatch(line, said) for said in err.splitlines()), err
    assert (hashes(driver.output), verify(str(driver.output))) == (undisturbed, (SHARDS, []))
    assert IMAGES < driver.calls() <= IMAGES + 2 * CHUNK
