"""Reads the folder that every command writes (docs/design.md). Only a manifest counts."""

import hashlib

from schemas.errors import ShardloomError, UsageError, to_one_line
from schemas.output_set.manifest import Manifest
from schemas.storage.folder import Folder, UnsafeFile

DATA, INDEX, QUARANTINE, MANIFESTS, PARTS = "data", "index", "quarantine", "manifests", "parts"
STATS = "stats.json"
CARD = "README.md"  # the dataset card, which anyone may edit: no manifest lists it
CROISSANT = "croissant.json"  # the Croissant metadata, which `shardloom card` writes: no manifest lists it
REPORT = "report.html"  # what a sample of the set holds, as a page: no manifest lists it, and nothing reads it
UNFINISHED = f"{PARTS}/unfinished"  # exists from before the first commit until after the last: no source yet

MAX_MANIFEST = 64 << 20
"""Bytes of a manifest or of `stats.json`, far more than any needs: a manifest of 10,000 inputs has 2 MB."""


class DamagedManifest(UsageError):
    """Reports a manifest that differs from what was written."""


def read_manifests(output: Folder) -> dict[str, Manifest]:
    """Returns the manifests of an output set by name. Raises `UsageError` if one is damaged."""
    try:
        manifests = output.map_files(lambda name: read_manifest(output, name), list_manifest_files(output))
    except DamagedManifest as error:
        raise UsageError(f"{error}: {suggest_repair(output)}") from None
    return {manifest.name: manifest for manifest in manifests}


def list_manifest_files(output: Folder) -> list[str]:
    """Lists the file names of the manifests; other programs and users leave files of other names among them."""
    return [name for name in output.list_files(MANIFESTS) if name.endswith(".json")]


def suggest_repair(output: Folder) -> str:
    """Returns the advice for a set with a damaged file."""
    return (
        f"`shardloom verify --repair {output.url}` removes the damaged outputs; the command that made the set "
        "then makes them again"
    )


def read_manifest(output: Folder, name: str) -> Manifest:
    """Reads one manifest by its file name. Raises `DamagedManifest` if it differs from what was written."""
    path = f"{MANIFESTS}/{name}"
    try:
        manifest = Manifest.from_json(output.read_inside(path, MAX_MANIFEST))
    except UnsafeFile as error:
        raise DamagedManifest(str(error)) from None
    except ValueError as error:
        raise DamagedManifest(f"{output.resolve_path(path)}: {to_one_line(error)}") from None
    if name != f"{manifest.name}.json":
        raise DamagedManifest(f"{output.resolve_path(path)}: is the manifest of {manifest.name}")
    return manifest


def read_output(output: Folder, path: str, sha256: str, size: int | None = None) -> bytes:
    """Reads an output file and checks it against the manifest's hash. Raises `ShardloomError` if it differs.

    A local file is not even read if its `size` in bytes differs. Raises `UnsafeFile` if it is not a regular file of
    the set.
    """
    output.check_inside(path)
    if size is None or not output.is_local or output.get_size(path) == size:
        data = output.read(path)
        if hashlib.sha256(data).hexdigest() == sha256:
            return data
    raise _changed_output_error(output, path)


def check_output(output: Folder, path: str, sha256: str) -> None:
    """Checks an output file, which is not held in memory, against the manifest's hash. Raises as `read_output` does."""
    output.check_inside(path)
    if output.hash_file(path)[1] != sha256:
        raise _changed_output_error(output, path)


def _changed_output_error(output: Folder, path: str) -> ShardloomError:
    return ShardloomError(f"{output.resolve_path(path)} is not as it was committed: verify the set")
