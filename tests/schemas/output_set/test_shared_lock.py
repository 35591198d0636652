"""Runs that agree to share an output folder hold it together, and no other run beside them."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from schemas.errors import UsageError
from schemas.output_set.active_runs import PREFIX, ActiveRuns, name_file
from schemas.output_set.holder import Holder
from schemas.output_set.lock import lock_output
from schemas.storage.folder import Folder
from tests.conftest import REPOSITORY
from tests.support.s3.bucket import Bucket

SHARING = """
import sys, time
from schemas.output_set.lock import lock_output
from schemas.storage.folder import Folder

with lock_output(Folder(sys.argv[1]), "annotate --claim", is_shared=True):
    print("sharing", flush=True)
    time.sleep(600)
"""
ELSEWHERE = replace(Holder("annotate --claim", is_shared=True), host="elsewhere", boot="another", pid=7, has_begun=True)


@pytest.fixture(params=["disk", "bucket"])
def output(request: pytest.FixtureRequest, tmp_path: Path, bucket: Bucket) -> Folder:
    return Folder(str(tmp_path / "out") if request.param == "disk" else f"{bucket.url}/out")


@pytest.fixture
def other(output: Folder) -> Iterator["subprocess.Popen[str]"]:
    """Another process, which shares the folder."""
    command = [sys.executable, "-c", SHARING, output.url]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "sharing\n"
        yield process
        process.kill()


def test_two_processes_share_and_a_third_does_not(output: Folder, other: "subprocess.Popen[str]") -> None:
    with lock_output(output, "annotate --claim", is_shared=True) as lock:
        assert {holder.pid for holder in ActiveRuns(output).list_active()} == {os.getpid(), other.pid}
        lock.check()
    who = f"annotate --claim (process {other.pid} on {socket.gethostname()})"
    line = f"{who} is writing to {output.url}: wait for it, stop it, or use another output folder"
    with pytest.raises(UsageError, match=f"^{re.escape(line)}$"), lock_output(output, "annotate"):
        pass
    assert len(output.list_files("", PREFIX)) == 1


def test_a_run_that_was_killed_shares_nothing(output: Folder, other: "subprocess.Popen[str]") -> None:
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert len(output.list_files("", PREFIX)) == 1
    assert ActiveRuns(output).list_active() == []
    with lock_output(output, "annotate") as lock:
        assert output.list_files("", PREFIX) == [name_file(PREFIX, lock.holder.id)]


def test_sharers_are_refused_beside_a_run_that_does_not_share(output: Folder) -> None:
    with (
        lock_output(output, "annotate"),
        pytest.raises(UsageError, match=r"^annotate \(process "),
        lock_output(output, "annotate --claim", is_shared=True),
    ):
        pass
    assert output.list_files("", PREFIX) == []


def test_nothing_is_left_of_a_sharer_that_wrote_nothing(output: Folder) -> None:
    with lock_output(output, "annotate --claim", is_shared=True):
        assert output.is_empty()
    assert not output.exists()


@pytest.mark.parametrize(("age", "is_alive"), [(40, True), (70, False)])
def test_a_sharer_of_another_machine_lapses(
    output: Folder, monkeypatch: pytest.MonkeyPatch, age: float, is_alive: bool
) -> None:
    output.write(name_file(PREFIX, ELSEWHERE.id), ELSEWHERE.encode())
    real = Folder.get_modified_time
    monkeypatch.setattr(
        Folder, "get_modified_time", lambda self, name: (real(self, name) or 0.0) + (0 if PREFIX in name else age)
    )
    assert ActiveRuns(output).list_active() == [ELSEWHERE] * is_alive
    if is_alive:
        with pytest.raises(UsageError, match=r"^annotate --claim \(process 7 on elsewhere\)"), lock_output(output, "x"):
            pass
    else:
        with lock_output(output, "x"):
            pass


def test_a_damaged_file_counts_by_its_age(output: Folder) -> None:
    output.write(name_file(PREFIX, "0"), b"{")
    assert [str(holder) for holder in ActiveRuns(output).list_active()] == ["another run"]


def test_the_last_sharer_clears_what_killed_ones_have_left(tmp_path: Path) -> None:
    output = Folder(str(tmp_path))
    output.write(name_file(PREFIX, "dead"), replace(Holder("annotate --claim", is_shared=True), id="dead").encode())
    (half := tmp_path / "0.parquet.tmp-1234").touch()
    with lock_output(output, "annotate --claim", is_shared=True) as lock:
        output.write(name_file(PREFIX, ELSEWHERE.id), ELSEWHERE.encode())
        lock.remove_leftovers()
        assert half.exists(), "a run at work may be writing it"
        assert not output.exists(name_file(PREFIX, "dead"))
        output.remove(name_file(PREFIX, ELSEWHERE.id))
        lock.remove_leftovers()
        assert not half.exists()
        assert output.exists(name_file(PREFIX, lock.holder.id))
