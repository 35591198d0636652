"""An output folder is one run's at a time, on a local disk and on an object store."""

import json
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from schemas.errors import ShardloomError, UsageError
from schemas.output_set import lock as lock_module
from schemas.output_set.lock import LOCK_FILE, Holder, Lock, lock_output
from schemas.storage.folder import Folder
from tests.conftest import REPOSITORY
from tests.support.s3.bucket import Bucket

HOLDING = """
import sys, time
from schemas.output_set.lock import lock_output
from schemas.storage.folder import Folder

with lock_output(Folder(sys.argv[1]), "annotate"):
    print("holding", flush=True)
    time.sleep(600)
"""


@pytest.fixture(params=["disk", "bucket"])
def output(request: pytest.FixtureRequest, tmp_path: Path, bucket: Bucket) -> Folder:
    """A folder that is not there yet."""
    return Folder(str(tmp_path / "out") if request.param == "disk" else f"{bucket.url}/out")


@pytest.fixture
def other(output: Folder) -> Iterator["subprocess.Popen[str]"]:
    """Another process, which has the folder."""
    command = [sys.executable, "-c", HOLDING, output.url]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "holding\n"
        yield process
        process.kill()


def test_another_process_is_named_at_once(output: Folder, other: "subprocess.Popen[str]") -> None:
    who = f"annotate (process {other.pid} on {socket.gethostname()})"
    line = f"{who} is writing to {output.url}: wait for it, stop it, or use another output folder"
    with pytest.raises(UsageError, match=re.escape(line)), lock_output(output, "render"):
        pass


def test_a_process_that_was_killed_holds_nothing(output: Folder, other: "subprocess.Popen[str]") -> None:
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert output.exists(LOCK_FILE)
    with lock_output(output, "render") as lock:
        lock.check()
        assert json.loads(output.read(LOCK_FILE))["pid"] == os.getpid()
    assert not output.exists(LOCK_FILE)


def test_two_runs_of_one_process(output: Folder) -> None:
    with (
        lock_output(output, "first"),
        pytest.raises(UsageError, match=r"^first \(process "),
        lock_output(output, "second"),
    ):
        pass
    with lock_output(output, "second"):
        pass


def test_a_forked_process_holds_nothing(tmp_path: Path) -> None:
    """As the readers of a trainer that was killed, which live on for some seconds."""
    context = multiprocessing.get_context("fork")
    is_up = context.Event()
    with lock_output(Folder(str(tmp_path)), "train"):
        reader = context.Process(target=lambda: (is_up.set(), time.sleep(600)))
        reader.start()
        is_up.wait()
    try:
        with lock_output(Folder(str(tmp_path)), "train"):
            assert reader.is_alive()
    finally:
        reader.kill()


def test_nothing_is_left_of_a_run_that_wrote_nothing(output: Folder) -> None:
    with lock_output(output, "test"):
        assert output.is_empty()
        assert output.list_files() == []
    assert not output.exists()


def test_a_folder_that_was_there_stays(tmp_path: Path) -> None:
    with lock_output(Folder(str(tmp_path)), "test"):
        pass
    assert tmp_path.is_dir()


@pytest.mark.parametrize(("age", "is_taken"), [(40, False), (70, True)])
def test_a_lease_of_another_machine_is_taken_over_once_it_has_lapsed(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, age: float, is_taken: bool
) -> None:
    output = Folder(f"{bucket.url}/out")
    theirs = replace(Holder("shard"), host="elsewhere", boot="another", pid=7)
    output.write(LOCK_FILE, json.dumps(asdict(theirs)).encode())
    real = Folder.get_modified_time
    monkeypatch.setattr(
        Folder, "get_modified_time", lambda self, name: (real(self, name) or 0.0) + (0 if name == LOCK_FILE else age)
    )
    if is_taken:
        with lock_output(output, "render"):
            assert json.loads(output.read(LOCK_FILE))["command"] == "render"
    else:
        with (
            pytest.raises(UsageError, match=r"^shard \(process 7 on elsewhere\) is writing to "),
            lock_output(output, "x"),
        ):
            pass


def test_a_lease_of_an_earlier_version_names_its_run(bucket: Bucket) -> None:
    """Its `command` was called `doing`."""
    output = Folder(f"{bucket.url}/out")
    theirs = asdict(replace(Holder("shard"), host="elsewhere", boot="another", pid=7))
    output.write(LOCK_FILE, json.dumps({"doing": theirs.pop("command"), **theirs}).encode())
    with pytest.raises(UsageError, match=r"^shard \(process 7 on elsewhere\) is writing to "), lock_output(output, "x"):
        pass


def overwrite_until_lost(output: Folder, theirs: Holder, lock: Lock) -> None:
    """A renewal under way may overwrite what another machine writes."""
    while True:
        output.write(LOCK_FILE, json.dumps(asdict(theirs)).encode())
        time.sleep(0.1)
        lock.check()


def test_a_run_whose_lease_was_taken_over_commits_nothing_more(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module, "RENEW_SECONDS", 0.01)
    output = Folder(f"{bucket.url}/out")
    theirs = replace(Holder("shard"), host="elsewhere", boot="another", pid=7)
    with lock_output(output, "render") as lock:
        lock.check()
        line = "shard (process 7 on elsewhere) has taken over the output: this run ends; committed data is kept"
        with pytest.raises(ShardloomError, match=f"^{re.escape(line)}$"):
            overwrite_until_lost(output, theirs, lock)
    assert json.loads(output.read(LOCK_FILE)) == asdict(theirs), "it is not ours to remove"


def test_a_lease_is_renewed(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module, "RENEW_SECONDS", 0.01)
    with lock_output(Folder(f"{bucket.url}/out"), "render"):
        end = time.monotonic() + 60
        while (puts := sum(each.method == "PUT" and LOCK_FILE in each.path for each in bucket.proxy.requests)) < 3:
            assert time.monotonic() < end, f"{puts} writes of the lock file"
            time.sleep(0.01)
    assert puts >= 3


@pytest.mark.parametrize("damaged", [b"", b"{", b"[]", b'{"doing": "x"}', b'["doing"]', b'{"other": 1}'])
def test_a_damaged_lock_file(output: Folder, damaged: bytes) -> None:
    """On a disk it says nothing. On an object store somebody may have written it just now."""
    output.write(LOCK_FILE, damaged)
    if output.is_local:
        with lock_output(output, "test"):
            assert json.loads(output.read(LOCK_FILE))["command"] == "test"
    else:
        with pytest.raises(UsageError, match=r"^another run is writing to "), lock_output(output, "test"):
            pass
