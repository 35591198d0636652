"""Runs of one user start their clusters in turns, as many at a time as the machine has cores."""

import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.cluster.connection import connect
from pipelines.cluster.start_turn import NAME, take_start_turn
from pipelines.recipes.base import RunOptions
from tests.conftest import REPOSITORY

LOCK = NAME.format(user=os.getuid(), place=0)  # where there is one core
OTHER = """
import os
from pipelines.cluster.start_turn import take_start_turn
os.cpu_count = lambda: 1
print("waits", flush=True)
with take_start_turn():
    print("starts", flush=True)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    return tmp_path


def start_other() -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", OTHER], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)


def test_another_run_waits_for_its_turn() -> None:
    with take_start_turn():
        other = start_other()
        assert other.stdout is not None
        assert other.stdout.readline() == "waits\n"
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(timeout=0.5)
    assert other.communicate(timeout=60)[0] == "starts\n"


def test_each_core_has_a_turn(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    next_process = os.getpid() + 1
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    with take_start_turn():
        monkeypatch.setattr(os, "getpid", lambda: next_process)
        with take_start_turn():
            assert sorted(path.name for path in folder.iterdir()) == [
                NAME.format(user=os.getuid(), place=place) for place in (0, 1)
            ]


def test_a_local_cluster_starts_in_its_turn(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def look(options: dict[str, object], **_: int) -> None:
        with pytest.raises(BlockingIOError), (folder / LOCK).open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        seen.append(str(options["address"]))

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("pipelines.cluster.connection.ray.is_initialized", lambda: False)
    monkeypatch.setattr("pipelines.cluster.connection._start", look)
    connect(RunOptions(workers=1), 100 << 20)
    assert seen == ["local"]
    with (folder / LOCK).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("kind", ["link", "folder"])
def test_a_file_that_is_not_this_users_is_not_waited_for(folder: Path, kind: str) -> None:
    path = folder / LOCK
    target = folder / "target"
    target.write_bytes(b"precious")
    if kind == "link":
        path.symlink_to(target)
    else:
        path.mkdir()
    with take_start_turn():
        assert start_other().communicate(timeout=60)[0] == "waits\nstarts\n"
    assert target.read_bytes() == b"precious"
