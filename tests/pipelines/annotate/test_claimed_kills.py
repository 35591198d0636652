"""Runs that share an output set are killed again and again: the set is that of one run, and no shard is made twice.

Their workers start at the same time, which takes two busy cores longer than a run may stall elsewhere.
"""

import contextlib
import random
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from pipelines.demo.shards import write_shards
from pipelines.verify.run import verify
from schemas.storage.folder import Folder
from tests.pipelines.support.drivers import TIMEOUT, Driver, hashes, wait_until
from tests.support.s3.bucket import Bucket
from tests.support.s3.faults import one_in_ten

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.xdist_group("ray")]

RUNS, KILLS = 8, 3  # of each run
SHARDS, SAMPLES, CHUNK = 24, 12, 4
READABLE = SHARDS * SAMPLES - 2  # one is no image, and one is cut short
NO_TIME = "error: cannot use Ray at this machine: The current node timed out during startup"
SECONDS = "0.3"  # an image: the kills come before the end


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_shards(Folder(str(folder)), SHARDS * SAMPLES, SAMPLES)
    return folder


@pytest.fixture(scope="module")
def alone(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The set that one run makes."""
    driver = Driver(tmp_path_factory.mktemp("alone"), f"{images}/*.tar", chunk=CHUNK)
    finished = driver.run()
    assert finished.returncode == 0, finished.stderr
    return driver.output


class Group:
    """Runs of one command that share its set. `look` is called often while they work."""

    def __init__(self, driver: Driver, look: Callable[[], None] = lambda: None) -> None:
        self.driver, self.look = driver, look
        driver.environment["CALL_SECONDS"] = SECONDS
        self.processes = [driver.start("--claim") for _ in range(RUNS)]

    def kill_at_random(self) -> None:
        """Kills each run `KILLS` times, at numbers of calls that are drawn, and starts it again."""
        draw = random.Random(11)
        places = [place for place in range(RUNS) for _ in range(KILLS)]
        draw.shuffle(places)
        for place in places:
            target = self.driver.calls() + draw.randint(1, 7)
            self.wait(lambda target=target: self.driver.calls() >= target)
            process = self.processes[place]
            assert process.poll() is None, "it ended before it could be killed"
            process.send_signal(signal.SIGKILL)
            process.communicate()
            self.processes[place] = self.driver.start("--claim")

    def finish(self) -> None:
        """Waits until all runs have ended, each with a complete set."""
        self.wait(lambda: all(process.poll() is not None for process in self.processes))
        for process in self.processes:
            out, err = process.communicate()
            assert process.returncode == 0, err
            assert f"{SHARDS * SAMPLES} rows in, {READABLE} out" in out

    def start_again(self, place: int, error: str) -> None:
        """Starts a run again whose Ray a machine full of others has given too little time to start."""
        assert NO_TIME in error, error
        self.processes[place] = self.driver.start("--claim")

    def wait(self, ready: Callable[[], bool]) -> None:
        def look_and_ask() -> bool:
            self.look()
            for place, process in enumerate(self.processes):
                if process.poll() not in (None, 0):
                    self.start_again(place, process.communicate()[1])
            return ready()

        wait_until(look_and_ask, 4 * TIMEOUT)


@contextlib.contextmanager
def group_of(driver: Driver, look: Callable[[], None] = lambda: None) -> Iterator[Group]:
    group = Group(driver, look)
    try:
        yield group
    finally:
        for process in group.processes:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired, ValueError):
                process.communicate(timeout=60)


def check_repeated_work(driver: Driver) -> None:
    """A kill costs the chunk in work. One that the dead run's worker still ends is not known to who takes over."""
    assert READABLE <= driver.calls() <= READABLE + RUNS * KILLS * 2 * CHUNK


def test_runs_on_a_disk(images: Path, alone: Path, tmp_path: Path) -> None:
    driver = Driver(tmp_path, f"{images}/*.tar", chunk=CHUNK, workers=1, stall_seconds=TIMEOUT)
    commits: dict[str, tuple[int, int]] = {}

    def look() -> None:
        """A manifest stays the file that it was."""
        for path in (driver.output / "manifests").glob("*.json"):
            stat = path.stat()
            file = (stat.st_ino, stat.st_mtime_ns)
            assert commits.setdefault(path.name, file) == file

    with group_of(driver, look) as group:
        group.kill_at_random()
        group.finish()
    assert len(commits) == SHARDS
    check_repeated_work(driver)
    assert hashes(driver.output) == hashes(alone)
    assert not list(driver.output.glob(".tmp-*"))


def test_runs_on_an_object_store(images: Path, bucket: Bucket, tmp_path: Path) -> None:
    """One request in ten fails, and the store keeps every version of what is written."""
    bucket.store.client.put_bucket_versioning(
        Bucket=bucket.url.removeprefix("s3://"), VersioningConfiguration={"Status": "Enabled"}
    )
    bucket.store.upload(images, f"{bucket.url}/images")
    driver = Driver(tmp_path, f"{bucket.url}/images/*.tar", chunk=CHUNK, workers=1, stall_seconds=TIMEOUT)
    write_to(driver, f"{bucket.url}/alone")
    finished = driver.run()
    assert finished.returncode == 0, finished.stderr
    driver.log.write_text("")
    write_to(driver, f"{bucket.url}/out")
    bucket.proxy.restart(one_in_ten)
    with group_of(driver) as group:
        group.kill_at_random()
        group.finish()
    assert {request.fault for request in bucket.proxy.requests} >= {"reset", "throttle", "cut", "lost"}
    assert verify(f"{bucket.url}/out") == (SHARDS, [])
    assert count_versions(bucket, "out/manifests/") == Counter({f"{shard:08d}.json": 1 for shard in range(SHARDS)})
    check_repeated_work(driver)
    assert bucket.store.hashes(f"{bucket.url}/out") == bucket.store.hashes(f"{bucket.url}/alone")


def write_to(driver: Driver, output: str) -> None:
    """Changes the output of the driver's recipe."""
    recipe = yaml.safe_load(driver.recipe.read_text())
    recipe["run"]["output"] = output
    driver.recipe.write_text(yaml.safe_dump(recipe))


def count_versions(bucket: Bucket, prefix: str) -> Counter[str]:
    """Counts how often each object below the prefix was written or removed."""
    pages = bucket.store.client.get_paginator("list_object_versions").paginate(
        Bucket=bucket.url.removeprefix("s3://"), Prefix=prefix
    )
    return Counter(
        version["Key"].removeprefix(prefix)
        for page in pages
        for kind in ("Versions", "DeleteMarkers")
        for version in page.get(kind, [])
    )
