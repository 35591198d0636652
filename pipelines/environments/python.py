"""Virtual environments for programs whose packages can't be installed beside ours.

img2dataset wants webdataset below 0.3 and pandas below 3, we neither. Ray could make environments too (`runtime_env`),
but only on its workers, anew for each cluster, and not at all for a run in one process; these are made by plain pip,
once on each machine, and stay until their pins change.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import TextIO

from schemas.errors import ShardloomError
from schemas.storage.file_lock import acquire_file_lock
from schemas.terminal import say

FOLDER = "SHARDLOOM_ENVIRONMENTS"  # the variable that says where they lie

_HERE = Path(__file__).parent


def python_of(name: str) -> Path:
    """The interpreter of the environment that `name`.txt pins; takes a minute or two the first time.

    Raises `ShardloomError`: pip could not install it.
    """
    folder = environment_of(name)
    python, complete, pins = interpreter_of(name), mark_of(name), _HERE / f"{name}.txt"
    if complete.exists():
        return python
    with _lock(folder.with_suffix(".lock")):
        if complete.exists():  # another process made it meanwhile
            return python
        say(f"building {name} in {folder}, once: it may take minutes")
        shutil.rmtree(folder, ignore_errors=True)  # what a killed one left
        try:
            venv.create(folder, with_pip=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise ShardloomError(f"cannot make an environment in {folder}: {error}") from None
        pip = [
            str(python),
            "-m",
            "pip",
            "--quiet",
            "--disable-pip-version-check",
            "install",
            "--requirement",
            str(pins),
        ]
        made = subprocess.run(pip, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
        if made.returncode:
            said = next((line for line in made.stderr.splitlines() if line.startswith("ERROR")), "see pip's own words")
            raise ShardloomError(f"cannot install {name} for {folder}: {said[:200]}; {FOLDER} may name one made before")
        complete.touch()
    return python


def interpreter_of(name: str) -> Path:
    """The interpreter of the environment, whether it is made or not."""
    return environment_of(name) / "bin" / "python"


def mark_of(name: str) -> Path:
    """The file that is there when all of the environment is."""
    return environment_of(name) / "complete"


def environment_of(name: str) -> Path:
    """The folder of the environment, whether it is made or not: another one for other pins or another Python."""
    told = os.environ.get(FOLDER)
    root = Path(told) if told else Path.home() / ".cache" / "shardloom" / "environments"
    state = f"{sys.version_info[:2]}{sys.platform}".encode() + (_HERE / f"{name}.txt").read_bytes()
    return root.absolute() / f"{name}-{hashlib.sha256(state).hexdigest()[:12]}"


def _lock(path: Path) -> TextIO:
    try:
        return acquire_file_lock(path)
    except OSError as error:
        raise ShardloomError(f"cannot write {path}: {error.strerror}; set {FOLDER} to a folder that can") from None
