"""What a cluster of our own leaves on a machine: nothing that others can read, and nothing that stays."""

import fcntl
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.cluster import private_files
from pipelines.cluster.private_files import (
    LOCK,
    PREFIX,
    TOKEN_VARIABLE,
    has_private_folder,
    make_private_folder,
    protect_token,
    remove_private_folders,
)
from tests.conftest import REPOSITORY


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made, however long its path is."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr(private_files, "MAX_ROOT_LENGTH", 1000)
    monkeypatch.setattr(private_files, "_locked_folders", {})
    return tmp_path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")  # so that it is taken back when the test ends
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_a_folder_that_nobody_else_can_enter_and_that_goes(root: Path) -> None:
    folder = make_private_folder()
    assert folder.parent.parent == root
    assert mode(folder.parent) == 0o700
    assert has_private_folder()
    folder.mkdir(mode=0o777)
    (folder / "log").touch()
    remove_private_folders()
    assert list(root.iterdir()) == []
    assert not has_private_folder()


def test_what_a_killed_run_left_goes_and_what_is_in_use_stays(root: Path) -> None:
    script = (
        "import os; from pipelines.cluster import private_files as p; p.MAX_ROOT_LENGTH = 1000\n"
        "p.make_private_folder().mkdir(); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, check=False)
    [left] = root.glob(f"{PREFIX}*")
    used = root / f"{PREFIX}used"
    used.mkdir()
    (root / f"{PREFIX}other").mkdir()  # of no lock: not ours to remove
    (root / f"{PREFIX}file").touch()
    with (used / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        make_private_folder()
        assert left.exists(), "it is too young: its run may be about to lock it"
        for folder in (left, used):
            os.utime(folder, (0, 0))
        make_private_folder()
        assert (left.exists(), used.exists()) == (False, True)
    remove_private_folders()
    assert sorted(path.name for path in root.iterdir()) == [f"{PREFIX}file", f"{PREFIX}other", used.name]


def test_sockets_must_have_short_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / ("long" * 10)))
    monkeypatch.setattr(private_files, "_locked_folders", {})  # the folder of this process's cluster stays
    folder = make_private_folder()
    assert folder.parent.parent == Path("/tmp")
    remove_private_folders()


def test_a_fresh_home_gets_a_token_that_nobody_else_can_read(home: Path) -> None:
    protect_token()
    token = home / ".ray/auth_token"
    assert (mode(token), mode(token.parent), len(token.read_text())) == (0o600, 0o700, 64)
    before = token.read_text()
    protect_token()
    assert token.read_text() == before


def test_a_token_that_others_can_read_is_closed_to_them(home: Path) -> None:
    token = home / ".ray/auth_token"
    token.parent.mkdir()
    token.write_text("mine")
    token.chmod(0o644)
    protect_token()
    assert (mode(token), token.read_text()) == (0o600, "mine")


@pytest.mark.parametrize("variable", ["RAY_AUTH_MODE", "RAY_AUTH_TOKEN"])
def test_a_token_of_the_users_own_is_left_alone(home: Path, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "disabled")
    protect_token()
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("fault", ["File exists", "it is not set"])
def test_a_home_that_cannot_be_used_is_not_needed(
    fault: str, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = str(home)
    if fault == "File exists":
        (home / ".ray").touch()
    else:
        shown = ""
        monkeypatch.delenv("HOME")
        monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)  # of no user, so that there is no home either
    protect_token()
    assert capsys.readouterr().err == (
        f"the home folder (HOME={shown}) can't be used: {fault}; this run needs none, but set HOME to a folder that "
        "you can write\n"
    )
    token = os.environ[TOKEN_VARIABLE]
    assert len(token) == 64
    protect_token()
    assert (os.environ[TOKEN_VARIABLE], capsys.readouterr().err) == (token, ""), "all clusters of a process have one"
