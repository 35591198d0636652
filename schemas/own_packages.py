"""Checks that `schemas`, `curation`, `pipelines` and `training` all come from one folder.

Their names are common, and Python looks for them in the working folder first. The other three packages run this file
by its path before they import anything, because another `schemas` may be the one that Python finds. So this file
imports nothing but the standard library.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder
from pathlib import Path

PACKAGES = ("schemas", "curation", "pipelines", "training")
OURS = Path(__file__).resolve().parents[1]
FOUND_FIRST = "of its own, which Python finds before Shardloom's in"  # how a driver knows the error of a worker
WRONG_USE = 2  # exit code of `UsageError`, which can't be imported here


def check_imports() -> None:
    """Ends a command with one line and exit code 2, or raises `ImportError`, when Python finds a package elsewhere."""
    fault = strange_package(sys.path)
    if fault is None:
        return
    if sys.argv[:1] == ["-m"] or Path(*sys.argv[:1]).name == "shardloom":  # "-m" while Python looks the module up
        print(f"error: {fault}", file=sys.stderr, flush=True)  # noqa: T201  nothing but the standard library
        sys.exit(WRONG_USE)
    raise ImportError(fault)


def strange_package(path: Sequence[str]) -> str | None:
    """Says which package a process with this `sys.path` would find outside of the folder that the others come from.

    None, if all come from one folder: ours, or another copy of Shardloom.
    """
    folders = {name: _folder_of(name, path) for name in PACKAGES}
    if len(set(folders.values())) == 1:
        return None
    name, folder = next((name, folder) for name, folder in folders.items() if folder != OURS)
    remedy = "run in another folder" if folder == Path.cwd() else "take that folder off PYTHONPATH"
    return f"{folder} has a `{name}` {FOUND_FIRST} {OURS}: rename it, or {remedy}"


def _folder_of(name: str, path: Sequence[str]) -> Path:
    """The folder that holds the package. Ours, if Python comes to it only after all folders of the path.

    A folder without an `__init__.py` never hides a package: Python looks on, and it has no `origin`.
    """
    spec = PathFinder.find_spec(name, path)
    if spec is None or spec.origin is None:
        return OURS
    file = Path(spec.origin).resolve()
    return file.parents[1] if spec.submodule_search_locations else file.parent
