"""Removes damaged outputs from a set, so that the command that made the set rebuilds them."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.verify.inspection import Inspection, inspect, read_set_kind
from schemas.output_set.layout import DATA, INDEX, MANIFESTS, PARTS, QUARANTINE, STATS, UNFINISHED
from schemas.output_set.lock import lock_output
from schemas.output_set.unit_outputs import get_unit_name
from schemas.storage.folder import Folder


@dataclass(frozen=True, slots=True)
class RepairResult:
    """Holds the result of a repair: the number of outputs checked, the outputs removed, and the faults that remain."""

    outputs: int
    removed: list[str]
    """Names of the outputs to rebuild."""
    faults: list[str]


def repair(output: str, images: Sequence[str] = ()) -> RepairResult:
    """Removes the damaged outputs of a set, each with all outputs of its unit, and marks the set as unfinished.

    Files that no manifest lists are kept, and the images of a set by reference, whose tars are found as `verify` finds
    them, are not read. Raises `UsageError` if the folder is not an output set, or if another run is
    writing to it.
    """
    folder = Folder(output)
    inspection = inspect(folder, images, reads_images=False)
    if not inspection.faults:
        return RepairResult(len(inspection.names), [], [])
    with lock_output(folder, "verify --repair"):
        inspection = inspect(folder, images, reads_images=False)
        removed = find_damaged_outputs(folder, inspection)
        if removed:
            folder.write(UNFINISHED, b"")  # from now on other commands refuse it as an input
        for name in removed:
            remove_output(folder, inspection, name)
        if any(fault.line.startswith(folder.resolve_path(STATS)) for fault in inspection.faults):
            folder.remove(STATS)
        unfinished = f"{folder.resolve_path(PARTS)}: "  # the intended state after a repair
        faults = inspect(folder, images, reads_images=False).faults
        left = [fault.line for fault in faults if not fault.line.startswith(unfinished)]
    return RepairResult(len(inspection.names), removed, left)


def find_damaged_outputs(folder: Folder, inspection: Inspection) -> list[str]:
    """Returns the names of the outputs with a fault and of the others in their units; a unit's first comes first."""
    kind = read_set_kind(folder)
    damaged = {fault.output for fault in inspection.faults if fault.output is not None}
    units = {get_unit_name(kind, name) for name in damaged}
    known = damaged | set(inspection.manifests)
    return sorted((name for name in known if get_unit_name(kind, name) in units), key=lambda name: (len(name), name))


def remove_output(folder: Folder, inspection: Inspection, name: str) -> None:
    """Removes the manifest of an output, then its files; if the manifest can't be read, the files of its name."""
    remove_file(folder, f"{MANIFESTS}/{name}.json")
    if name in inspection.manifests:
        paths = [out.path for out in inspection.manifests[name].outputs]
    else:
        kept = {out.path for manifest in inspection.manifests.values() for out in manifest.outputs}
        below = [f"{place}/{file}" for place in (DATA, INDEX, QUARANTINE) for file in folder.list_files(place)]
        paths = [path for path in below if path.rpartition("/")[2].rpartition(".")[0] == name and path not in kept]
    for path in paths:
        remove_file(folder, path)


def remove_file(folder: Folder, path: str) -> None:
    """Removes a file of the set: a link itself, but nothing inside a linked folder."""
    if folder.is_inside(path.rpartition("/")[0]):
        folder.remove(path)
