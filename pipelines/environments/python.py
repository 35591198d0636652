"""Virtual environments for programs whose packages can't be installed beside ours.

img2dataset wants webdataset below 0.3 and pandas below 3, we neither. Ray could make environments too (`runtime_env`),
but only on its workers, anew for each cluster, and not at all for a run in one process; these are made by plain pip,
once on each machine, and stay until their pins change. What pip installs is known by its hash.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from schemas.errors import ShardloomError
from schemas.storage.file_lock import acquire_file_lock
from schemas.terminal import say

FOLDER = "SHARDLOOM_ENVIRONMENTS"  # the variable that says where they lie

_HERE = Path(__file__).parent
_SOURCES = ("groundingdino-py==0.4.0",)  # of which there is no wheel


def python_of(name: str) -> Path:
    """The interpreter of the environment that `name`.txt pins; takes a minute or two the first time.

    Raises `ShardloomError`: pip could not install it.
    """
    folder = environment_of(name)
    python, complete = interpreter_of(name), mark_of(name)
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
        for number, step in enumerate(steps_of(name), 1):
            _install(name, folder, number, step)
        complete.touch()
    return python


@dataclass(frozen=True, slots=True)
class Step:
    """Names releases that pip installs at once, as lines of a requirements file, and how it does."""

    options: tuple[str, ...]
    lines: list[str]


def steps_of(name: str) -> list[Step]:
    """Returns the steps that the environment is built in.

    Only files with a hash that we know are taken, and no dependency that isn't pinned. What PyPI does not have comes
    last, from the index that the user names: its hash is not known here.
    """
    known = release_hashes()
    lines = (_HERE / f"{name}.txt").read_text().splitlines()
    pinned = [_normalised(line) for line in lines if line and not line.startswith("#")]
    wheels = [line for line in pinned if line in known and line not in _SOURCES]
    sources = [line for line in pinned if line in known and line in _SOURCES]
    others = [line for line in pinned if line not in known]
    by_hash = ("--require-hashes", "--no-deps")
    steps = [
        Step((*by_hash, "--only-binary", ":all:"), _with_hashes(wheels, known)),
        Step((*by_hash, "--no-build-isolation"), _with_hashes(sources, known)),  # built by what is here by now
        Step(("--constraint", str(_HERE / f"{name}.txt")), others),
    ]
    return [step for step in steps if step.lines]


def release_hashes() -> dict[str, list[str]]:
    """Returns the hashes of each release that is pinned and on PyPI, as `sha256:...`, by `name==version`."""
    found: dict[str, list[str]] = {}
    release = ""
    for line in (_HERE / "hashes.txt").read_text().splitlines():
        text = line.removesuffix("\\").strip()
        if text.startswith("--hash="):
            found[release].append(text.removeprefix("--hash="))
        elif text and not text.startswith("#"):
            release = _normalised(text)
            found[release] = []
    return found


def _normalised(line: str) -> str:
    """The names of packages are told in many ways: `huggingface_hub`, `Jinja2`."""
    name, _, version = line.partition("==")
    return f"{re.sub(r'[-_.]+', '-', name).lower()}=={version}"


def _with_hashes(releases: list[str], known: dict[str, list[str]]) -> list[str]:
    """`===` is the very release: no other build of it (`+cpu`), whose hash would be another."""
    return [" ".join([line.replace("==", "==="), *(f"--hash={each}" for each in known[line])]) for line in releases]


def _install(name: str, folder: Path, number: int, step: Step) -> None:
    """Raises `ShardloomError` in pip's own words."""
    listed = folder / f"step-{number}.txt"
    listed.write_text("\n".join(step.lines) + "\n")
    pip = [str(interpreter_of(name)), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    command = [*pip, *step.options, "--requirement", str(listed)]
    made = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
    if made.returncode:
        said = next((line for line in made.stderr.splitlines() if line.startswith("ERROR")), "see pip's own words")
        raise ShardloomError(f"cannot install {name} for {folder}: {said[:200]}; {FOLDER} may name one made before")


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
