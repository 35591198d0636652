"""Keeps a local cluster's files from other users of the machine, and removes them with the cluster.

By default Ray keeps logs and sockets in `/tmp/ray`, which everyone may enter, and leaves a folder there for each run.
It makes the token with which its processes authenticate readable by everyone.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
import tempfile
import time
from pathlib import Path
from typing import TextIO

from schemas.log import LOG

PREFIX = "shardloom-"
LOCK = "lock"
TOKEN_FILE = ".ray/auth_token"  # in the home folder
TOKEN_VARIABLE = "RAY_AUTH_TOKEN"
MIN_AGE_SECONDS = 60.0  # a younger folder may not be locked yet
MAX_ROOT_LENGTH = 20  # characters: a socket's path has at most 107

_locked_folders: dict[Path, TextIO] = {}  # this process's folders, with their locks


def make_private_folder() -> Path:
    """Makes a folder for the cluster's files, below one that no other user can enter. Returns its path.

    The parent is needed because Ray opens the folder that it is given to everyone. Removes the folders of killed runs.
    """
    root = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())
    if len(str(root)) > MAX_ROOT_LENGTH:
        root = Path("/tmp")
    _remove_leftovers(root)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
    lock = (folder / LOCK).open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    _locked_folders[folder] = lock
    return folder / "ray"


def has_private_folder() -> bool:
    """Returns whether this process has made a private folder and not yet removed it."""
    return bool(_locked_folders)


def remove_private_folders() -> None:
    """Removes this process's folders, whose cluster has ended or is about to end."""
    for folder, lock in list(_locked_folders.items()):
        shutil.rmtree(folder, ignore_errors=True)
        lock.close()
        del _locked_folders[folder]


def protect_token() -> None:
    """Makes Ray's token readable by this user only. Creates it before Ray does; mends one that an earlier version made.

    Leaves a token alone that the user passes in a variable, or in a file that another variable names. Where the home
    folder can't be used, this process and those that it starts get a token of their own.
    """
    if os.environ.get("RAY_AUTH_MODE", "token") != "token" or TOKEN_VARIABLE in os.environ:
        return
    if token_path := os.environ.get("RAY_AUTH_TOKEN_PATH"):
        with contextlib.suppress(OSError):  # Ray reports it
            _make_private(Path(token_path))
        return
    try:
        path = Path.home() / TOKEN_FILE
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with contextlib.suppress(FileExistsError), open(path, "x", opener=_open_private) as file:
            file.write(_make_token())
        _make_private(path)
        path.read_text()
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home folder
        reason = error.strerror if isinstance(error, OSError) else "it is not set"
        LOG.warning(
            f"the home folder (HOME={os.environ.get('HOME', '')}) can't be used: {reason}; "
            "this run needs none, but set HOME to a folder that you can write"
        )
        os.environ[TOKEN_VARIABLE] = _make_token()


def _make_token() -> str:
    return secrets.token_hex(32)  # the form of Ray's own


def _make_private(path: Path) -> None:
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _remove_leftovers(root: Path) -> None:
    """Removes this user's folders whose lock no process holds any more."""
    for folder in root.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # another user's, or removed meanwhile
            found = folder.lstat()
            if (
                found.st_uid != os.getuid()
                or time.time() - found.st_mtime < MIN_AGE_SECONDS
                or folder in _locked_folders
            ):
                continue
            with (folder / LOCK).open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
