"""Runs that agree to share an output folder hold it together, and no other run beside them."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from schemas.errors import ShardloomError, UsageError
from schemas.output_set import lock as lock_module
from schemas.output_set import sharers as sharers_module
from schemas.output_set.holder import Holder
from schemas.output_set.lock import LOCK_FILE, TURN_FILE, Lock, lock_output
from schemas.output_set.sharers import PREFIX, Sharers, name_file
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
ELSEWHERE = replace(Holder("annotate --claim"), host="elsewhere", boot="another", pid=7)


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
        assert {holder.pid for holder in Sharers(output).list_alive()} == {os.getpid(), other.pid}
        lock.check()
    who = f"annotate --claim (process {other.pid} on {socket.gethostname()})"
    line = f"{who} is writing to {output.url}: wait for it, stop it, or use another output folder"
    with pytest.raises(UsageError, match=f"^{re.escape(line)}$"), lock_output(output, "annotate"):
        pass
    assert not output.exists(LOCK_FILE)


def test_a_run_that_was_killed_shares_nothing(output: Folder, other: "subprocess.Popen[str]") -> None:
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert len(output.list_files("", PREFIX)) == 1
    assert Sharers(output).list_alive() == []
    with lock_output(output, "annotate"):
        assert output.list_files("", PREFIX) == []


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
    output.write(name_file(ELSEWHERE.id), ELSEWHERE.encode())
    real = Folder.get_modified_time
    monkeypatch.setattr(
        Folder, "get_modified_time", lambda self, name: (real(self, name) or 0.0) + (0 if PREFIX in name else age)
    )
    assert Sharers(output).list_alive() == [ELSEWHERE] * is_alive
    if is_alive:
        with pytest.raises(UsageError, match=r"^annotate --claim \(process 7 on elsewhere\)"), lock_output(output, "x"):
            pass
    else:
        with lock_output(output, "x"):
            pass


def test_a_damaged_file_counts_by_its_age(output: Folder) -> None:
    output.write(name_file("0"), b"{")
    assert [str(holder) for holder in Sharers(output).list_alive()] == ["another run"]


def test_a_sharer_ends_when_a_run_has_taken_the_folder(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was suspended for longer than its heartbeat counts."""
    monkeypatch.setattr(sharers_module, "RENEW_SECONDS", 0.01)
    output = Folder(f"{bucket.url}/out")
    with lock_output(output, "annotate --claim", is_shared=True) as lock:
        output.write(LOCK_FILE, replace(ELSEWHERE, command="annotate").encode())
        with pytest.raises(ShardloomError, match=r"^annotate \(process 7 on elsewhere\) has taken over the output"):
            check_until_lost(lock)


def test_a_run_ends_when_sharers_have_taken_the_folder(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """They have found its lease abandoned, and removed it."""
    monkeypatch.setattr(lock_module, "RENEW_SECONDS", 0.01)
    output = Folder(f"{bucket.url}/out")
    with lock_output(output, "annotate") as lock:
        output.write(name_file(ELSEWHERE.id), ELSEWHERE.encode())
        with pytest.raises(ShardloomError, match=r"^annotate --claim \(process 7 on elsewhere\) has taken over"):
            check_until_lost(lock, output)


def check_until_lost(lock: Lock, output: Folder | None = None) -> None:
    """Removes the lease from `output`, again where a renewal under way has written it once more."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        lock.check()
        if output is not None:
            output.remove(LOCK_FILE)
        time.sleep(0.01)


def test_sharers_take_turns(output: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module, "TURN_POLL_SECONDS", 0.001)
    at_work, most, ended = [0], [0], [0]

    def work() -> None:
        with lock_output(output, "annotate --claim", is_shared=True) as lock, lock.take_turn():
            at_work[0] += 1
            most[0] = max(most[0], at_work[0])
            assert json.loads(output.read(TURN_FILE))["id"] == lock.holder.id
            at_work[0] -= 1
            ended[0] += 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (most, ended) == ([1], [4])
    assert not output.exists(TURN_FILE)


def test_the_turn_of_a_run_that_was_killed_is_over(output: Folder) -> None:
    output.write(TURN_FILE, replace(Holder("annotate --claim"), id="dead").encode())
    with lock_output(output, "annotate --claim", is_shared=True) as lock, lock.take_turn():
        assert json.loads(output.read(TURN_FILE))["id"] == lock.holder.id


def test_the_last_sharer_clears_what_killed_ones_have_left(tmp_path: Path) -> None:
    output = Folder(str(tmp_path))
    output.write(name_file("dead"), replace(Holder("annotate --claim"), id="dead").encode())
    (half := tmp_path / "0.parquet.tmp-1234").touch()
    with lock_output(output, "annotate --claim", is_shared=True) as lock:
        output.write(name_file(ELSEWHERE.id), ELSEWHERE.encode())
        lock.remove_leftovers()
        assert half.exists(), "a run at work may be writing it"
        assert not output.exists(name_file("dead"))
        output.remove(name_file(ELSEWHERE.id))
        lock.remove_leftovers()
        assert not half.exists()
        assert output.exists(name_file(lock.holder.id))
