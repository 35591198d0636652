"""Tests of the lock that processes of one machine wait for."""

import subprocess
import sys
from pathlib import Path

import pytest

from schemas.storage.file_lock import acquire_file_lock

WAIT = """
import sys
from pathlib import Path
from schemas.storage.file_lock import acquire_file_lock
print("waits", flush=True)
with acquire_file_lock(Path(sys.argv[1])):
    print(Path(sys.argv[2]).read_text(), flush=True)
"""


def test_another_process_waits_until_the_file_is_closed(tmp_path: Path) -> None:
    lock, note = tmp_path / "below" / "a.lock", tmp_path / "note"
    with acquire_file_lock(lock):
        command = [sys.executable, "-c", WAIT, str(lock), str(note)]
        other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert other.stdout is not None
        assert other.stdout.readline() == "waits\n"
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(timeout=0.5)
        note.write_text("done")
    assert other.communicate(timeout=60)[0] == "done\n"


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        acquire_file_lock(tmp_path / "file" / "a.lock")
