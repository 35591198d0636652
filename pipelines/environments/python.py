"""Builds virtual environments for programs whose packages conflict with Shardloom's.

img2dataset needs webdataset below 0.3 and pandas below 3; Shardloom does not. Ray can build environments too
(`runtime_env`), but only on its workers, again for each cluster, and never for a run in process. Plain pip builds these
once on each machine, and they stay until their pins change. pip checks the hash of each file that it installs.
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

from schemas.activity import report_activity
from schemas.errors import ShardloomError
from schemas.storage.file_lock import acquire_file_lock
from schemas.storage.home import find_home

FOLDER_VARIABLE = "SHARDLOOM_ENVIRONMENTS"  # the variable that names the folder of all environments

_HERE = Path(__file__).parent
_SOURCES = (  # releases without a wheel
    "groundingdino-py==0.4.0",
    "antlr4-python3-runtime==4.7.2",
    "transformers-stream-generator==0.0.5",
    "zss==1.2.0",
)


def ensure_environment(name: str) -> Path:
    """Returns the interpreter of the environment that `name`.txt pins. Builds it first if needed, in a minute or two.

    Raises `ShardloomError` if the environment can't be made or pip can't install it.
    """
    folder = get_environment_folder(name)
    python, complete = get_interpreter(name), get_completion_mark(name)
    if complete.exists():
        return python
    with _lock(folder.with_suffix(".lock")):
        if complete.exists():  # another process has built it meanwhile
            return python
        with report_activity(f"building {name} in {folder}, once: it may take minutes", at_once=True):
            _build(name, folder)
        complete.touch()
    return python


def _build(name: str, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # the rest of a killed build
    try:
        venv.create(folder, with_pip=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ShardloomError(f"cannot create an environment in {folder}: {error}") from None
    for number, step in enumerate(plan_steps(name), 1):
        _install(name, folder, number, step)


@dataclass(frozen=True, slots=True)
class InstallStep:
    """Lists the releases that one pip call installs, as lines of a requirements file, and the options of the call."""

    options: tuple[str, ...]
    lines: list[str]


def plan_steps(name: str) -> list[InstallStep]:
    """Returns the steps that build the environment.

    pip accepts only files with a hash in `hashes.txt`, and only pinned dependencies. Releases that PyPI does not have
    come last, from the index that the user names, without a known hash.
    """
    known = read_release_hashes()
    lines = (_HERE / f"{name}.txt").read_text().splitlines()
    pinned = [_normalise_release(line) for line in lines if line and not line.startswith("#")]
    wheels = [line for line in pinned if line in known and line not in _SOURCES]
    sources = [line for line in pinned if line in known and line in _SOURCES]
    others = [line for line in pinned if line not in known]
    by_hash = ("--require-hashes", "--no-deps")
    steps = [
        InstallStep((*by_hash, "--only-binary", ":all:"), _add_hashes(wheels, known)),
        InstallStep((*by_hash, "--no-build-isolation"), _add_hashes(sources, known)),  # built with these wheels
        InstallStep(("--constraint", str(_HERE / f"{name}.txt")), others),
    ]
    return [step for step in steps if step.lines]


def read_release_hashes() -> dict[str, list[str]]:
    """Returns the hashes, as `sha256:...`, of each pinned release that PyPI has, by `name==version`."""
    found: dict[str, list[str]] = {}
    release = ""
    for line in (_HERE / "hashes.txt").read_text().splitlines():
        text = line.removesuffix("\\").strip()
        if text.startswith("--hash="):
            found[release].append(text.removeprefix("--hash="))
        elif text and not text.startswith("#"):
            release = _normalise_release(text)
            found[release] = []
    return found


def _normalise_release(line: str) -> str:
    """Returns the line with a normalised package name (PEP 503): `huggingface_hub` and `Jinja2` are common forms."""
    name, _, version = line.partition("==")
    return f"{re.sub(r'[-_.]+', '-', name).lower()}=={version}"


def _add_hashes(releases: list[str], known: dict[str, list[str]]) -> list[str]:
    """Pins each release with `===` and its hashes. `==` would also match another build (`+cpu`), with another hash."""
    return [" ".join([line.replace("==", "==="), *(f"--hash={each}" for each in known[line])]) for line in releases]


def _install(name: str, folder: Path, number: int, step: InstallStep) -> None:
    """Runs pip for one step. Raises `ShardloomError` with pip's own message."""
    listed = folder / f"step-{number}.txt"
    listed.write_text("\n".join(step.lines) + "\n")
    pip = [str(get_interpreter(name)), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    command = [*pip, *step.options, "--requirement", str(listed)]
    made = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
    if made.returncode:
        said = next((line for line in made.stderr.splitlines() if line.startswith("ERROR")), "pip names no error")
        raise ShardloomError(
            f"cannot install {name} for {folder}: {said[:200]}; "
            f"or set {FOLDER_VARIABLE} to a folder that has it already"
        )


def get_interpreter(name: str) -> Path:
    """Returns the path of the environment's interpreter, built or not."""
    return get_environment_folder(name) / "bin" / "python"


def get_completion_mark(name: str) -> Path:
    """Returns the path of the file that marks the environment as complete."""
    return get_environment_folder(name) / "complete"


def get_environment_folder(name: str) -> Path:
    """Returns the folder of the environment, built or not. Its name holds a hash of the pins and the Python version."""
    configured = os.environ.get(FOLDER_VARIABLE)
    root = Path(configured or find_home(FOLDER_VARIABLE) / ".cache" / "shardloom" / "environments")
    state = f"{sys.version_info[:2]}{sys.platform}".encode() + (_HERE / f"{name}.txt").read_bytes()
    return root.absolute() / f"{name}-{hashlib.sha256(state).hexdigest()[:12]}"


def _lock(path: Path) -> TextIO:
    try:
        return acquire_file_lock(path)
    except OSError as error:
        raise ShardloomError(
            f"cannot write {path}: {error.strerror}; set {FOLDER_VARIABLE} to a writable folder"
        ) from None
