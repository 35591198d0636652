"""Replaces committed outputs of a set by others, so that a kill at any point leaves the old ones or the new ones.

The new files are written below `parts/retry/` first, and a sealed order names them last. Once the order is there, the
old manifests are removed, the files copied to their places, the new manifests written, and the old files removed that
no new one replaces. A run that is killed on the way leaves the order, and `finish_replacements` carries it out again.
Between the two manifests an output counts as not committed, so that no reader takes files of one for those of the
other.
"""

import shutil
from collections.abc import Sequence

from schemas.errors import ShardloomError, to_one_line
from schemas.output_set.layout import MANIFESTS, MAX_MANIFEST, PARTS, list_manifest_files, read_manifest
from schemas.output_set.manifest import Manifest, OutputFile, seal, unseal
from schemas.output_set.unit_outputs import get_unit_name
from schemas.storage.folder import Folder

STAGED = f"{PARTS}/retry"
"""The folder of files that will replace committed ones, at the same places below it."""

_ORDERS = f"{STAGED}/orders"
_COPIED = 8 << 20  # bytes at once


def open_staging(output: Folder) -> Folder:
    """Returns the folder to write the new files of an output into."""
    return output / STAGED


def replace_unit(output: Folder, kind: str, unit: str, manifests: Sequence[Manifest]) -> None:
    """Replaces all outputs of a unit, in a set of this kind, by those of `manifests`, whose files are staged."""
    new = {out.path for manifest in manifests for out in manifest.outputs}
    old = (read_manifest(output, f"{name}.json") for name in _list_outputs(output, kind, unit))
    order = {
        "manifests": [manifest.model_dump(mode="json") for manifest in manifests],
        "removed": [out.model_dump(mode="json") for manifest in old for out in manifest.outputs if out.path not in new],
    }
    output.write(f"{_ORDERS}/{unit}.json", seal(order))
    _carry_out(output, kind, unit)


def finish_replacements(output: Folder, kind: str) -> None:
    """Carries out the orders that a killed run has left."""
    for name in output.list_files(_ORDERS):
        _carry_out(output, kind, name.removesuffix(".json"))


def _carry_out(output: Folder, kind: str, unit: str) -> None:
    order = f"{_ORDERS}/{unit}.json"
    try:
        found = unseal(output.read_inside(order, MAX_MANIFEST))
        manifests = [Manifest.model_validate(values) for values in found["manifests"]]
        removed = [OutputFile.model_validate(values) for values in found.get("removed", [])]  # older versions lack it
    except (ValueError, KeyError) as error:
        what = to_one_line(error)
        raise ShardloomError(f"{output.resolve_path(order)} is damaged: {what}: remove it, and retry again") from None
    for name in _list_outputs(output, kind, unit):
        output.remove(f"{MANIFESTS}/{name}.json")  # the unit's first output first, by which a unit is known to be whole
    staged = open_staging(output)
    files = [out.path for manifest in manifests for out in manifest.outputs]
    for path in files:
        _copy(staged, output, path)
    for manifest in reversed(manifests):
        output.write(f"{MANIFESTS}/{manifest.name}.json", manifest.to_json())
    output.map_files(output.remove, [out.path for out in removed])
    output.remove(order)
    staged.map_files(staged.remove, files)


def _list_outputs(output: Folder, kind: str, unit: str) -> list[str]:
    """Returns the names of the unit's committed outputs, the first one first."""
    names = (name.removesuffix(".json") for name in list_manifest_files(output))
    return sorted((name for name in names if get_unit_name(kind, name) == unit), key=lambda name: (len(name), name))


def _copy(source: Folder, target: Folder, path: str) -> None:
    with source.open(path) as file, target.create(path) as copy:
        shutil.copyfileobj(file, copy, _COPIED)
