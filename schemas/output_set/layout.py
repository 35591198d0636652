"""The folder that every command writes (DESIGN.md §4), as it is read. Only a manifest counts."""

import hashlib

from schemas.errors import ShardloomError, UsageError, one_line
from schemas.output_set.manifest import Manifest
from schemas.storage.folder import Folder

DATA, INDEX, QUARANTINE, MANIFESTS, PARTS = "data", "index", "quarantine", "manifests", "parts"
STATS = "stats.json"
UNFINISHED = f"{PARTS}/unfinished"  # from before the first commit until after the last: such a set is no source yet


def committed(output: Folder) -> dict[str, Manifest]:
    """The manifests of an output set by name. Raises `UsageError` for one that is not what was written."""
    manifests = output.at_once(lambda name: read_manifest(output, name), output.names(MANIFESTS))
    return {manifest.name: manifest for manifest in manifests}


def read_manifest(output: Folder, name: str) -> Manifest:
    """One manifest by its file's name. Raises `UsageError` when it is not what was written there."""
    path = f"{MANIFESTS}/{name}"
    try:
        manifest = Manifest.from_json(output.read(path))
    except ValueError as error:
        raise UsageError(f"{output.path(path)}: {one_line(error)}") from None
    if name != f"{manifest.name}.json":
        raise UsageError(f"{output.path(path)}: is the manifest of {manifest.name}")
    return manifest


def read_output(output: Folder, path: str, sha256: str) -> bytes:
    """Reads an output file, whose manifest has this hash of it. Raises `ShardloomError` for any other bytes."""
    data = output.read(path)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ShardloomError(f"{output.path(path)} is not as it was committed: verify the set")
    return data
