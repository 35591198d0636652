"""Runs that a full disk or a signal ends: one line, exit 1, and the same command goes on to the same bytes."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pipelines.cli.app import main
from pipelines.verify.run import verify
from schemas.output_set.layout import read_manifests
from schemas.storage.folder import Folder
from tests.conftest import REPOSITORY
from tests.pipelines.support.drivers import Driver, hashes, wait_until, without_progress
from tests.pipelines.support.sets import (
    annotation_set,
    caption_set,
    every_file,
    in_process,
    join,
    shardloom,
    small_disk,
)
from tests.support.kills import KillOrder
from tests.support.signals import heed_interrupts

PAGE = 4096
STOPPED = "stopped: finished work is kept; the same command resumes the run\n"


@pytest.fixture(scope="module")
def made(make_shards: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, annotations, captions and training shards, made without a hitch."""
    folder = tmp_path_factory.mktemp("recovery")
    images = make_shards(folder / "images", shards=4, samples=12)
    captions = caption_set(annotation_set(images, folder / "annotations"), folder / "captions")
    join(images, captions, folder / "training")
    return folder


def command(made: Path, kind: str, output: Path, workers: int = 1) -> list[str]:
    flags = ["--output", str(output), "--workers", str(workers)]
    if kind == "captions":
        return ["render", "ocr", f"{made}/annotations", *flags]
    images = ["--images", f"{made}/images/*.tar", "--captions", f"{made}/captions"]
    return ["shard", *images, "--samples-per-shard", "9", *flags]


def fill(disk: Path, pages: int) -> Path:
    """A file that leaves so many pages free."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(PAGE))
        except OSError:
            file.truncate(file.tell() - pages * PAGE)
    return filler


@pytest.mark.parametrize("kind", ["captions", "training"])
@pytest.mark.parametrize("pages", [0, 1, 3, 6, 9, 14])
def test_a_full_disk(made: Path, tmp_path: Path, kind: str, pages: int, capsys: pytest.CaptureFixture[str]) -> None:
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        filler, output = fill(disk, pages), disk / "out"
        with pytest.raises(SystemExit) as done:
            main(command(made, kind, output))
        error = capsys.readouterr().err
        assert done.value.code == 1
        assert re.fullmatch(rf"error: cannot (make|write) {disk}/out\S*: No space left on device\n", error), error
        assert not list(output.rglob("*.tmp-*"))
        before = every_file(output) if output.exists() else {}
        kept = {file.path for manifest in read_manifests(Folder(str(output))).values() for file in manifest.outputs}
        assert all(before[path] == every_file(made / kind)[path] for path in kept)
        times = {path: (output / path).stat().st_mtime_ns for path in kept}
        filler.unlink()
        with pytest.raises(SystemExit) as done:
            main(command(made, kind, output))
        assert done.value.code == 0, capsys.readouterr().err
        assert hashes(output) == hashes(made / kind)
        assert {path: (output / path).stat().st_mtime_ns for path in kept} == times
        assert verify(str(output))[1] == []


@pytest.mark.parametrize("kind", ["captions", "training"])
def test_a_kill_between_data_and_manifest(made: Path, tmp_path: Path, kind: str) -> None:
    """The second unit is made again, though its data are whole; the first one is kept."""
    arguments, output = command(made, kind, tmp_path / "out"), tmp_path / "out"
    (order := KillOrder(tmp_path / "order")).give(r"manifests/00000001\.json$")
    killed = shardloom(*arguments, env=os.environ | order.environment)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    order.read_kill().check_half_written()
    assert list(read_manifests(Folder(str(output)))) == ["00000000"]
    manifests = read_manifests(Folder(str(made / kind)))
    first, second = ([file.path for file in manifests[name].outputs] for name in ("00000000", "00000001"))
    there, whole = hashes(output), hashes(made / kind)
    assert all(there[path] == whole[path] for path in (*first, *second))
    times = {path: (output / path).stat().st_mtime_ns for path in (*first, *second, "manifests/00000000.json")}
    assert in_process(*arguments).returncode == 0
    assert hashes(output) == whole
    assert {path for path, time in times.items() if (output / path).stat().st_mtime_ns != time} == set(second)


SIGNALLING = """
import os, signal, sys
import pipelines.output.job
from pipelines.cli.app import main

def commit(output, manifest, before=pipelines.output.job.commit):
    before(output, manifest)
    os.kill(os.getpid(), int(sys.argv[1]))

pipelines.output.job.commit = commit
main(sys.argv[2:])
"""


def stopped_once(number: signal.Signals, arguments: list[str]) -> "subprocess.CompletedProcess[str]":
    """The command, which gets the signal when its first output has been committed."""
    script = [sys.executable, "-c", SIGNALLING, str(int(number)), *arguments]
    return subprocess.run(
        script, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, preexec_fn=heed_interrupts
    )


@pytest.mark.parametrize("kind", ["captions", "training"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal(made: Path, tmp_path: Path, kind: str, number: signal.Signals) -> None:
    arguments = command(made, kind, tmp_path / "out")
    done = stopped_once(number, arguments)
    assert (done.returncode, done.stdout, without_progress(done.stderr)) == (1, "", STOPPED)
    assert len(read_manifests(Folder(str(tmp_path / "out")))) == 1
    assert in_process(*arguments).returncode == 0
    assert hashes(tmp_path / "out") == hashes(made / kind)


def test_a_run_behind_an_ampersand_can_be_stopped(made: Path, tmp_path: Path) -> None:
    """Shells start such processes with SIGINT ignored."""
    script = [sys.executable, "-c", SIGNALLING, str(int(signal.SIGTERM)), *command(made, "captions", tmp_path / "out")]
    ignoring = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *script]
    done = subprocess.run(ignoring, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert (done.returncode, without_progress(done.stderr)) == (1, STOPPED)


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
def test_a_signal_while_workers_run(made: Path, tmp_path: Path) -> None:
    """Ray takes SIGTERM over when it starts."""
    done = stopped_once(signal.SIGTERM, command(made, "captions", tmp_path / "out", workers=2))
    assert (done.returncode, done.stdout, without_progress(done.stderr)) == (1, "", STOPPED)
    assert in_process(*command(made, "captions", tmp_path / "out")).returncode == 0
    assert hashes(tmp_path / "out") == hashes(made / "captions")


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
def test_a_full_disk_while_workers_run(made: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        filler = fill(disk, 6)
        done = in_process(*command(made, "captions", disk / "out", workers=2))
        assert done.returncode == 1
        line = rf"error: cannot write {disk}/out/\S*: No space left on device\n"
        assert re.fullmatch(line, without_progress(done.stderr)), done.stderr
        filler.unlink()
        assert in_process(*command(made, "captions", disk / "out")).returncode == 0
        assert hashes(disk / "out") == hashes(made / "captions")


@pytest.fixture(scope="module")
def annotated(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Driver:
    """An annotate run without a hitch; its recipe is the one that the tests below run."""
    driver = Driver(tmp_path_factory.mktemp("annotated"), f"{made}/images/*.tar", workers=1, seconds=0.05)
    finished = driver.run()
    assert finished.returncode == 0, finished.stderr
    return driver


def driver_of(made: Path, folder: Path, output: Path) -> Driver:
    """The same run with another output."""
    driver = Driver(folder, f"{made}/images/*.tar", workers=1, seconds=0.05)
    recipe = yaml.safe_load(driver.recipe.read_text())
    recipe["run"]["output"] = str(output)
    driver.recipe.write_text(yaml.safe_dump(recipe))
    driver.output = output
    return driver


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.xdist_group("ray")
def test_a_signal_while_engines_run(made: Path, annotated: Driver, tmp_path: Path) -> None:
    driver = driver_of(made, tmp_path, tmp_path / "out")
    process = driver.start()
    wait_until(lambda: driver.calls() >= 14 or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, without_progress(err)) == (1, STOPPED), out
    kept, before = driver.count_kept(), driver.calls()
    finished = driver.run()
    assert finished.returncode == 0, finished.stderr
    assert driver.calls() - before == annotated.calls() - kept, "what was kept is not done again"
    assert hashes(driver.output) == hashes(annotated.output)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.xdist_group("ray")
def test_a_full_disk_while_engines_run(made: Path, annotated: Driver, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        driver = driver_of(made, tmp_path, disk / "out")
        filler = fill(disk, 12)
        finished = driver.run()
        line = rf"error: cannot write {disk}/out/\S*: No space left on device\n"
        assert finished.returncode == 1
        assert re.fullmatch(line, without_progress(finished.stderr)), finished.stderr
        filler.unlink()
        finished = driver.run()
        assert finished.returncode == 0, finished.stderr
        assert hashes(driver.output) == hashes(annotated.output)
        assert verify(str(driver.output))[1] == []
