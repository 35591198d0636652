"""Checks that `schemas`, `curation`, `pipelines` and `training` are all imported from one folder.

Their names are common, and Python searches the working folder first. The other three packages run this file by its
path before they import anything, because Python may find another package called `schemas`. So this file imports only
the standard library.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder
from pathlib import Path

PACKAGES = ("schemas", "curation", "pipelines", "training")
OUR_FOLDER = Path(__file__).resolve().parents[1]
SHADOWING_MESSAGE = "of its own, which Python finds before Shardloom's in"  # a driver knows a worker's error by it
USAGE_EXIT_CODE = 2  # exit code of `UsageError`, which cannot be imported here


def check_imports() -> None:
    """Refuses to run when Python finds one of the packages in another folder.

    The command `shardloom` and `python -m` end with one line on stderr and exit code 2; any other process gets an
    `ImportError`.
    """
    fault = find_foreign_package(sys.path)
    if fault is None:
        return
    if sys.argv[:1] == ["-m"] or Path(*sys.argv[:1]).name == "shardloom":  # "-m" while Python finds the module
        print(f"error: {fault}", file=sys.stderr, flush=True)  # noqa: T201  `print_result` cannot be imported here
        sys.exit(USAGE_EXIT_CODE)
    raise ImportError(fault)


def find_foreign_package(path: Sequence[str]) -> str | None:
    """Returns a message that names the package which a process with this `sys.path` would import from another folder.

    Returns None if all come from one folder: this one, or another copy of Shardloom.
    """
    folders = {name: _find_folder(name, path) for name in PACKAGES}
    if len(set(folders.values())) == 1:
        return None
    name, folder = next((name, folder) for name, folder in folders.items() if folder != OUR_FOLDER)
    remedy = "run in another folder" if folder == Path.cwd() else "take that folder off PYTHONPATH"
    return f"{folder} has a `{name}` {SHADOWING_MESSAGE} {OUR_FOLDER}: rename it, or {remedy}"


def _find_folder(name: str, path: Sequence[str]) -> Path:
    """Returns the folder that contains the package; `OUR_FOLDER` if no folder of the path has it.

    A folder without an `__init__.py` never hides a package: Python searches on, and its spec has no `origin`.
    """
    spec = PathFinder.find_spec(name, path)
    if spec is None or spec.origin is None:
        return OUR_FOLDER
    file = Path(spec.origin).resolve()
    return file.parents[1] if spec.submodule_search_locations else file.parent
