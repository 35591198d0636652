"""Replaces committed outputs of a set by others, so that a kill at any point leaves the old ones or the new ones.

The new files are written below `parts/retry/` first, and a sealed order names them last. Once the order is there, the
old manifests are removed, the files copied to their places, and the new manifests written. A run that is killed on the
way leaves the order, and `finish_replacements` carries it out again. Between the two manifests an output counts as not
committed, so that no reader takes files of one for those of the other.
"""

import shutil
from collections.abc import Sequence

from schemas.errors import ShardloomError
from schemas.output_set.layout import MANIFESTS, MAX_MANIFEST, PARTS, list_manifest_files
from schemas.output_set.manifest import Manifest, seal, unseal
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
    order = {"manifests": [manifest.model_dump(mode="json") for manifest in manifests]}
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
    except ValueError as error:
        raise ShardloomError(f"{output.resolve_path(order)} is damaged: {error}: remove it, and retry again") from None
    manifests = [Manifest.model_validate(values) for values in found["manifests"]]
    old = [name.removesuffix(".json") for name in list_manifest_files(output)]
    for name in sorted((name for name in old if get_unit_name(kind, name) == unit), key=lambda name: (len(name), name)):
        output.remove(f"{MANIFESTS}/{name}.json")  # the unit's first output first, by which a unit is known to be whole
    staged = open_staging(output)
    files = [out.path for manifest in manifests for out in manifest.outputs]
    for path in files:
        _copy(staged, output, path)
    for manifest in reversed(manifests):
        output.write(f"{MANIFESTS}/{manifest.name}.json", manifest.to_json())
    output.remove(order)
    staged.map_files(staged.remove, files)


def _copy(source: Folder, target: Folder, path: str) -> None:
    with source.open(path) as file, target.create(path) as copy:
        shutil.copyfileobj(file, copy, _COPIED)
