"""Runs that share an output folder take turns, and nobody has another's turn."""

import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from schemas.errors import ShardloomError
from schemas.output_set import active_runs, turn
from schemas.output_set.active_runs import PREFIX, name_file
from schemas.output_set.holder import Holder
from schemas.output_set.lock import lock_output
from schemas.output_set.turn import TURN
from schemas.storage.folder import Folder
from tests.support.s3.bucket import Bucket

SHARER = Holder("annotate --claim", is_shared=True)


@pytest.fixture(params=["disk", "bucket"])
def output(request: pytest.FixtureRequest, tmp_path: Path, bucket: Bucket) -> Folder:
    return Folder(str(tmp_path / "out") if request.param == "disk" else f"{bucket.url}/out")


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Polls and switches threads often, so that many orders of the steps happen."""
    monkeypatch.setattr(turn, "POLL_SECONDS", 0.0005)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def test_one_run_at_a_time(output: Folder) -> None:
    at_work, most, ended = [0], [0], [0]
    counting = threading.Lock()

    def work() -> None:
        for _ in range(5 if output.is_local else 1):
            with lock_output(output, "annotate --claim", is_shared=True) as lock, lock.take_turn():
                with counting:
                    at_work[0] += 1
                    most[0] = max(most[0], at_work[0])
                assert json.loads(output.read(name_file(TURN, lock.holder.id)))["id"] == lock.holder.id
                with counting:
                    at_work[0] -= 1
                    ended[0] += 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (most, ended) == ([1], [20 if output.is_local else 4])
    assert output.list_files("", TURN) == []


def test_of_two_that_see_each_other_the_smaller_id_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = Folder(str(tmp_path))
    seen: list[list[str]] = []
    other = [replace(SHARER, id="0"), replace(SHARER, id="f" * 32)]
    output.write(name_file(PREFIX, other[0].id), replace(other[0], host="elsewhere").encode())
    output.write(name_file(PREFIX, other[1].id), replace(other[1], host="elsewhere").encode())

    def look(number: int) -> None:
        """Stands for the time between two looks, in which the others go on."""
        seen.append(output.list_files("", TURN))
        if number < 2:
            output.remove(name_file(TURN, other[number].id))

    calls = iter(range(100))
    monkeypatch.setattr(turn, "time", SimpleNamespace(sleep=lambda _: look(next(calls))))
    real = Folder.write

    def write(self: Folder, name: str, data: bytes) -> None:
        real(self, name, data)
        if name.startswith(TURN) and len(seen) < 2:  # another has announced itself at the same moment
            real(self, name_file(TURN, other[len(seen)].id), b"")

    monkeypatch.setattr(Folder, "write", write)
    with lock_output(output, "annotate --claim", is_shared=True) as lock, lock.take_turn():
        own = name_file(TURN, lock.holder.id)
        assert output.list_files("", TURN) == [own]
    assert seen == [[name_file(TURN, "0")], sorted([own, name_file(TURN, "f" * 32)])]


def test_the_turn_of_a_run_that_was_killed_is_over(output: Folder) -> None:
    killed = replace(SHARER, id="dead")
    for prefix in (PREFIX, TURN):
        output.write(name_file(prefix, "dead"), killed.encode())
    with lock_output(output, "annotate --claim", is_shared=True) as lock, lock.take_turn():
        assert output.list_files("", TURN) == [name_file(TURN, lock.holder.id)]
        assert output.list_files("", PREFIX) == [name_file(PREFIX, lock.holder.id)]


def test_a_run_whose_turn_was_taken_ends(output: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was suspended for longer than its file counts, and waits for the turn or has it."""
    monkeypatch.setattr(active_runs, "RENEW_SECONDS", 0.01)
    other = replace(SHARER, host="elsewhere", boot="another", pid=7, id="0")
    with lock_output(output, "annotate --claim", is_shared=True) as lock:
        for prefix in (PREFIX, TURN):
            output.write(name_file(prefix, "0"), other.encode())
        wait = SimpleNamespace(sleep=lambda _: output.remove(name_file(PREFIX, lock.holder.id)))
        monkeypatch.setattr(turn, "time", wait)
        line = r"^annotate --claim \(process 7 on elsewhere\) has taken over the output: this run ends; "
        with pytest.raises(ShardloomError, match=line), lock.take_turn():
            pass
    assert output.list_files("", TURN) == [name_file(TURN, "0")]
