"""`shardloom retry` annotates the rows again that an engine had failed on, and no others."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.verify.run import verify
from tests.conftest import REPOSITORY, jpeg, write_shard
from tests.pipelines.support.drivers import TIMEOUT, Driver
from tests.pipelines.support.retried import copy_set, read_attempts, read_set
from tests.pipelines.support.sets import in_process

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray")]

SHARDS, SAMPLES = 3, 10
FAILED = 6  # images of the width on which the engine fails: every fifth
CHUNK = 4


class Sets:
    """A set that an engine with a passing fault has made, and the one that it makes without."""

    def __init__(self, folder: Path) -> None:
        self.faults = folder / "faults"
        (folder / "images").mkdir(parents=True)
        for shard in range(SHARDS):
            images = [jpeg(100 * shard + number, 80 if number % 5 == 3 else 64) for number in range(SAMPLES)]
            write_shard(folder / f"images/{shard:08d}.tar", images, first=100 * shard)
        self.driver = Driver(folder, f"{folder}/images/*.tar", "PassingOcr", chunk=CHUNK, faults=str(self.faults))
        self.faults.write_text("80")
        self.failed = self.make(folder / "failed")
        self.faults.write_text("")
        self.whole = self.make(folder / "whole")

    def make(self, output: Path) -> Path:
        made = in_process("annotate", *self.driver.arguments, "--output", output)
        assert made.returncode == 0, made.stderr
        return output

    def arguments(self, output: Path) -> list[str]:
        """Those of `shardloom retry` after its name."""
        recipe, *trust = self.driver.arguments
        return [str(output), "--recipe", recipe, *trust]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Sets:
    return Sets(tmp_path_factory.mktemp("sets"))


@pytest.fixture
def output(sets: Sets, tmp_path: Path) -> Path:
    """A copy of the set with faults."""
    copy_set(str(sets.failed), str(tmp_path / "out"))
    sets.driver.log.write_text("")
    return tmp_path / "out"


def test_the_set_of_a_run_without_faults(sets: Sets, output: Path) -> None:
    assert len(verify(str(output))[1]) == 0
    done = in_process("retry", *sets.arguments(output), "--reason", "engine_error")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{output}: 30 rows in, 30 out, 0 quarantined\n"
    assert "retry: 6 rows of 3 shards\n" in done.stderr
    assert read_set(str(output)) == read_set(str(sets.whole))
    assert read_attempts(str(output)) == dict.fromkeys((f"{shard:08d}" for shard in range(SHARDS)), 2)
    assert verify(str(output)) == (SHARDS, [])
    again = in_process("retry", *sets.arguments(output))
    assert (again.returncode, "nothing to retry (no row is quarantined)" in again.stderr) == (0, True)


def test_rows_that_fail_again_stay(sets: Sets, output: Path) -> None:
    sets.faults.write_text("80")
    before = read_set(str(output))
    try:
        done = in_process("retry", *sets.arguments(output))
    finally:
        sets.faults.write_text("")
    assert done.returncode == 0, done.stderr
    assert read_set(str(output)) == before


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--recipe", "OTHER"], "holds another recipe (engines.ocr.settings.seconds is None there and 0.5 here)"),
        ([], "sets faults of ocr to "),
    ],
)
def test_what_is_refused(sets: Sets, output: Path, flags: list[str], line: str) -> None:
    """The set's own recipe does not decide which files an engine reads."""
    _, *trust = sets.driver.arguments
    other = output.parent / "other.yaml"
    other.write_text(sets.driver.recipe.read_text().replace("settings:", "settings:\n      seconds: 0.5"))
    before = read_set(str(output))
    done = in_process("retry", output, *(str(other) if flag == "OTHER" else flag for flag in flags), *trust)
    assert done.returncode == 2, done.stderr
    assert line in done.stderr.splitlines()[-1]
    assert read_set(str(output)) == before


@pytest.mark.parametrize(
    ("kind", "shown"), [("render", "'render'"), ("shard", "'shard'"), ("[annotate]", "['annotate']"), ("", "None")]
)
def test_other_sets_are_refused(tmp_path: Path, kind: str, shown: str) -> None:
    (tmp_path / "recipe.yaml").write_text(f"kind: {kind}\n")
    for flags in ((), ("--recipe", tmp_path / "recipe.yaml")):
        done = in_process("retry", tmp_path, *flags)
        assert done.returncode == 2
        assert (
            done.stderr
            == f"error: {tmp_path} is of the kind {shown}; retry is for sets of annotate, download, ingest\n"
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    "place",
    [
        r"parts/retry/round\.json$",
        r"parts/retry/data/00000001\.parquet$",
        r"parts/retry/orders/00000000\.json$",
        r"out/data/00000002\.parquet$",
        r"out/quarantine/00000001\.parquet$",
        r"out/manifests/00000000\.json$",
    ],
)
def test_a_kill_inside_a_write(sets: Sets, output: Path, place: str) -> None:
    """SIGKILL ends the driver inside a write; the same command then gives the set of a run without faults."""
    command = [sys.executable, "-m", "pipelines.retry", *sets.arguments(output)]
    sets.driver.order.give(place)
    killed = subprocess.run(command, cwd=REPOSITORY, env=sets.driver.environment, capture_output=True, timeout=TIMEOUT)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert sets.driver.order.read_kill().written.is_file()
    done = in_process("retry", *sets.arguments(output))
    assert done.returncode == 0, done.stderr
    assert read_set(str(output)) == read_set(str(sets.whole))
    assert read_attempts(str(output)) == dict.fromkeys((f"{shard:08d}" for shard in range(SHARDS)), 2)
    assert sets.driver.calls() <= FAILED + 2 * CHUNK
