"""An output folder is one run's at a time, on a local disk and on an object store."""

import json
import multiprocessing
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
from schemas.output_set import active_runs
from schemas.output_set.active_runs import PREFIX, name_file
from schemas.output_set.holder import CLOCK_FILE, Holder
from schemas.output_set.lock import Lock, lock_output
from schemas.storage.disk import TEMPORARY
from schemas.storage.folder import Folder
from tests.conftest import REPOSITORY
from tests.support.s3.bucket import Bucket

THEIRS = replace(Holder("shard"), host="elsewhere", boot="another", pid=7, has_begun=True)
HOLDING = """
import sys, time
from schemas.output_set.lock import lock_output
from schemas.storage.disk import TEMPORARY
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
    assert len(output.list_files("", PREFIX)) == 1
    output.write(CLOCK_FILE, b"")  # it was asking the store for its time
    with lock_output(output, "render") as lock:
        lock.check()
        assert output.list_files("", TEMPORARY) == [name_file(PREFIX, lock.holder.id)]
        assert json.loads(output.read(name_file(PREFIX, lock.holder.id)))["pid"] == os.getpid()
    assert output.list_files("", PREFIX) == []


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
def test_a_folder_of_another_machine_is_taken_over_once_its_run_has_lapsed(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, age: float, is_taken: bool
) -> None:
    output = Folder(f"{bucket.url}/out")
    output.write(name_file(PREFIX, THEIRS.id), THEIRS.encode())
    real = Folder.get_modified_time
    monkeypatch.setattr(
        Folder, "get_modified_time", lambda self, name: (real(self, name) or 0.0) + (0 if PREFIX in name else age)
    )
    if is_taken:
        with lock_output(output, "render") as lock:
            assert output.list_files("", PREFIX) == [name_file(PREFIX, lock.holder.id)]
    else:
        with (
            pytest.raises(UsageError, match=r"^shard \(process 7 on elsewhere\) is writing to "),
            lock_output(output, "x"),
        ):
            pass
        assert output.list_files("", PREFIX) == [name_file(PREFIX, THEIRS.id)]


def test_flock_decides_on_a_disk(tmp_path: Path) -> None:
    """Another machine that has crashed holds nothing, however young its file."""
    output = Folder(str(tmp_path))
    output.write(name_file(PREFIX, THEIRS.id), THEIRS.encode())
    with lock_output(output, "render") as lock:
        assert output.list_files("", PREFIX) == [name_file(PREFIX, lock.holder.id)]


def test_a_run_that_another_has_removed_commits_nothing_more(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was suspended, and another machine has found it lapsed."""
    monkeypatch.setattr(active_runs, "RENEW_SECONDS", 0.01)
    output = Folder(f"{bucket.url}/out")
    with lock_output(output, "render") as lock:
        lock.check()
        output.write(name_file(PREFIX, THEIRS.id), THEIRS.encode())
        line = "shard (process 7 on elsewhere) has taken over the output: this run ends; committed data is kept"
        with pytest.raises(ShardloomError, match=f"^{re.escape(line)}$"):
            remove_until_lost(output, lock)
    assert output.list_files("", PREFIX) == [name_file(PREFIX, THEIRS.id)]


def remove_until_lost(output: Folder, lock: Lock) -> None:
    """Removes the run's file, again where a renewal under way has written it once more."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        lock.check()
        output.remove(name_file(PREFIX, lock.holder.id))
        time.sleep(0.01)


def test_a_file_is_renewed(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(active_runs, "RENEW_SECONDS", 0.01)
    with lock_output(Folder(f"{bucket.url}/out"), "render"):
        end = time.monotonic() + 60
        while (puts := sum(each.method == "PUT" and PREFIX in each.path for each in bucket.proxy.requests)) < 3:
            assert time.monotonic() < end, f"{puts} writes of the run's file"
            time.sleep(0.01)
    assert puts >= 3


@pytest.mark.parametrize("damaged", [b"", b"{", b"[]", b'{"command": "x"}', b'["command"]', b'{"other": 1}'])
def test_a_damaged_file(output: Folder, damaged: bytes) -> None:
    """On a disk it says nothing. On an object store somebody may have written it just now."""
    output.write(name_file(PREFIX, "0"), damaged)
    if output.is_local:
        with lock_output(output, "test") as lock:
            assert output.list_files("", PREFIX) == [name_file(PREFIX, lock.holder.id)]
    else:
        with pytest.raises(UsageError, match=r"^another run is writing to "), lock_output(output, "test"):
            pass


@pytest.mark.parametrize("is_shared", [False, True])
def test_of_runs_that_begin_at_once_one_at_most_has_the_folder(bucket: Bucket, is_shared: bool) -> None:
    """None checks first and writes then: all have announced themselves before any of them looks."""
    output = Folder(f"{bucket.url}/out")
    at_work, most, refused = [0], [0], []

    def work(number: int) -> None:
        start.wait()
        try:
            with lock_output(output, "annotate", is_shared=is_shared and number == 0):
                at_work[0] += 1
                most[0] = max(most[0], at_work[0])
                ended.wait(60)
                at_work[0] -= 1
        except UsageError as error:
            refused.append(str(error))
        finally:
            done[0] += 1
            if done[0] == 3:
                ended.set()

    start, ended, done = threading.Barrier(4), threading.Event(), [0]
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == [1]
    assert len(refused) >= 3
