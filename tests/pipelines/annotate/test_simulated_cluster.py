"""A cluster of three nodes on one machine: pools are placed as asked, and a lost node or driver costs no byte."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from pipelines.verify.run import verify
from tests.conftest import REPOSITORY
from tests.pipelines.support.drivers import NO_TOKEN, TIMEOUT, Driver, free_ports, hashes, wait_until, without_progress

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray"), pytest.mark.slow]

SHARDS, SAMPLES, CHUNK = 3, 24, 4
IMAGES = SHARDS * SAMPLES
ENGINES = {
    "ocr": {"engine": "PlacedOcr", "batch_size": 2},
    "tags": {"engine": "caption"},
    "boxes": {"engine": "PlacedBoxes", "batch_size": 2},
}


@dataclass(frozen=True, slots=True)
class Call:
    """What an engine has logged of an image."""

    image: str
    process: str
    node: str
    gpus: str


class ThreeNodes:
    """A head that offers to look for boxes, and two nodes with a GPU each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        head = {"num_cpus": 3, "resources": {"shardloom-boxes": 9}}
        self.cluster = Cluster(initialize_head=True, head_node_args=head | agent_ports())
        self.head: str = self.cluster.head_node.node_id
        self.others = [self.cluster.add_node(num_cpus=2, num_gpus=1, **agent_ports()) for _ in range(2)]

    def driver(self, images: str, stall_seconds: float = 300, **ocr: float) -> Driver:
        """The annotate command, of two workers of boxes and what is told of those that read texts."""
        resources = {"ocr": {"cpus": 0.25} | ocr, "boxes": {"workers": 2, "cpus": 0.25}}
        options = {"engines": ENGINES, "resources": resources, "stall_seconds": stall_seconds, "chunk": CHUNK}
        return Driver(self.folder, images, address=self.cluster.address, **options)  # type: ignore[arg-type]

    def lose_a_node(self) -> str:
        """Kills the last node; its name."""
        lost = self.others.pop()
        self.cluster.remove_node(lost, allow_graceful=False)
        return str(lost.node_id)


def agent_ports() -> dict[str, int]:
    """As `AGENT_PORTS`, by their names here."""
    names = ("metrics_agent_port", "dashboard_agent_listen_port", "runtime_env_agent_port")
    return dict(zip(names, free_ports(len(names)), strict=True))


def calls(driver: Driver) -> list[Call]:
    """The calls of the engine that reads texts so far."""
    return [Call(*line.split(" ")) for line in driver.log.read_text().splitlines()]


def repeated(driver: Driver) -> set[str]:
    """Images that it was given more than once."""
    return {image for image, count in Counter(call.image for call in calls(driver)).items() if count > 1}


@pytest.fixture(scope="module")
def images(make_shards: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_shards(tmp_path_factory.mktemp("images"), SHARDS, SAMPLES)


@pytest.fixture(scope="module")
def undisturbed(images: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a laptop makes of the images."""
    driver = Driver(tmp_path_factory.mktemp("laptop"), images, engines=ENGINES, chunk=CHUNK)
    finished = driver.run()
    assert finished.returncode == 0, finished.stderr
    assert len({call.image for call in calls(driver)}) == driver.calls() == IMAGES
    return hashes(driver.output)


@pytest.fixture
def three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreeNodes]:
    told = {"CALL_LOG": str(tmp_path / "calls.log"), "BOX_LOG": str(tmp_path / "boxes.log"), "CALL_SECONDS": "0.5"}
    fewer = {"RAY_prestart_worker_first_driver": "0"}  # processes, which a small machine starts for half a minute
    for name, value in {**NO_TOKEN, **told, **fewer, "PYTHONPATH": str(REPOSITORY)}.items():
        monkeypatch.setenv(name, value)
    ray.shutdown()  # a cluster that an earlier test has left in this process would lend the head its loopback address
    nodes = ThreeNodes(tmp_path)
    try:
        yield nodes
    finally:
        nodes.cluster.shutdown()


def check(driver: Driver, undisturbed: dict[str, str]) -> None:
    """Runs to the end, and looks at all that came out."""
    finished = driver.run()
    assert finished.returncode == 0, finished.stderr
    assert verify(str(driver.output)) == (SHARDS, [])
    assert hashes(driver.output) == undisturbed


def test_pools_are_placed_as_asked(images: str, undisturbed: dict[str, str], three: ThreeNodes) -> None:
    driver = three.driver(images, workers=4, gpus=0.5)
    check(driver, undisturbed)
    assert driver.calls() == IMAGES
    workers = {(call.process, call.node, call.gpus) for call in calls(driver)}
    on = Counter((node, gpus) for _, node, gpus in workers)
    assert on == {(node.node_id, "0"): 2 for node in three.others}, "two share each GPU"
    boxes = {tuple(line.split(" ")) for line in (three.folder / "boxes.log").read_text().splitlines()}
    assert {node for _, node in boxes} == {three.head}
    assert len(boxes) == 2


def test_a_pool_grows(images: str, undisturbed: dict[str, str], three: ThreeNodes) -> None:
    driver = three.driver(images, min=1, max=4, gpus=0.5)
    check(driver, undisturbed)
    assert driver.calls() == IMAGES
    assert 1 < len({call.process for call in calls(driver)}) <= 4


def lose_in_mid_run(driver: Driver, three: ThreeNodes) -> None:
    """Runs to the end, and loses a node that readers of texts are at work on. Nothing else is done again."""
    process = driver.start()
    going = {node.node_id for node in three.others}
    wait_until(lambda: {call.node for call in calls(driver)} == going and driver.calls() >= IMAGES // 3)
    lost = three.lose_a_node()
    _, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, err
    first = {call.image: call.node for call in reversed(calls(driver))}
    assert repeated(driver)
    assert {first[image] for image in repeated(driver)} == {lost}


def test_a_node_is_lost(images: str, undisturbed: dict[str, str], three: ThreeNodes) -> None:
    """Its workers start again on the other one, whose GPU has room for them."""
    driver = three.driver(images, workers=4, gpus=0.25)
    lose_in_mid_run(driver, three)
    check(driver, undisturbed)


def test_a_node_is_lost_and_leaves_no_room(images: str, undisturbed: dict[str, str], three: ThreeNodes) -> None:
    """The run goes on with fewer workers. What those that are lost had begun comes last, when there is room."""
    driver = three.driver(images, workers=4, gpus=0.5)
    lose_in_mid_run(driver, three)
    check(driver, undisturbed)


def test_no_node_is_left_for_a_pool(images: str, undisturbed: dict[str, str], three: ThreeNodes) -> None:
    driver = three.driver(images, stall_seconds=90, workers=4, gpus=0.5)
    process = driver.start()
    wait_until(lambda: driver.calls() >= IMAGES // 3)
    lost = {three.lose_a_node(), three.lose_a_node()}
    _, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1
    lacks = (
        "stage ocr asks for 4 workers of 0.25 CPUs and 0.5 GPUs, but there is capacity for 0; "
        "the cluster has 1 x (3 CPUs, 0 GPUs, for boxes), 1 CPU of it for reading"
    )
    where = (
        r"stage ocr has (been working on shard-chunk 0000000\d/\d, samples 0 to 3"
        r"|started none of its \d+ queued chunks)"
    )
    halt = (
        rf"error: no progress for \d+ s: {where}; 2 of 3 nodes are lost; {re.escape(lacks)}; finished work is kept; .*"
    )
    assert re.fullmatch(halt, err.splitlines()[-1]), err
    refused = driver.run()
    line = f"error: {lacks}: lower gpus in run.resources, or add nodes that have them\n"
    assert (refused.returncode, without_progress(refused.stderr)) == (2, line)
    three.others.append(three.cluster.add_node(num_cpus=2, num_gpus=2, **agent_ports()))
    check(driver, undisturbed)
    assert {call.node for call in calls(driver)} == lost | {three.others[0].node_id}
    assert len(repeated(driver)) <= 4 * CHUNK


def test_the_driver_is_killed(images: str, undisturbed: dict[str, str], three: ThreeNodes) -> None:
    driver = three.driver(images, workers=4, gpus=0.5)
    assert driver.kill_when(lambda: driver.calls() >= IMAGES // 3)
    check(driver, undisturbed)
    assert 0 < driver.calls() - IMAGES <= 4 * CHUNK
