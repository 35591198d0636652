"""Compares sets that were retried with those in which nothing had failed."""

import json

from schemas.output_set.layout import MANIFESTS, REPORT
from schemas.output_set.manifest import unseal
from schemas.storage.folder import Folder


def read_set(output: str) -> dict[str, bytes]:
    """All files of a set but the timings and the report, and the attempts in its manifests: 1 for those with none."""
    folder = Folder(output)
    files = {name: folder.read(name) for name in folder.list_sizes() if name not in ("stats.json", REPORT)}
    for name, data in files.items():
        if name.startswith(f"{MANIFESTS}/"):
            files[name] = json.dumps(unseal(data) | {"attempts": 1}, sort_keys=True).encode()
    return files


def read_attempts(output: str) -> dict[str, int]:
    """The attempts of each output."""
    folder = Folder(output)
    manifests = {name: unseal(folder.read(f"{MANIFESTS}/{name}")) for name in folder.list_files(MANIFESTS)}
    return {name.removesuffix(".json"): found.get("attempts", 1) for name, found in manifests.items()}


def copy_set(source: str, target: str) -> None:
    """Puts a copy of a set in the place of what is at `target`."""
    old, new = Folder(source), Folder(target)
    for name in new.list_sizes() if new.exists() else ():
        new.remove(name)
    for name in old.list_sizes():
        new.write(name, old.read(name))
