"""Finds the faults of an output set: it checks every byte against its hash, every row count and every offset."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipelines.output.training_shards import make_span
from pipelines.verify.references import ReferenceCheck
from schemas.errors import ShardloomError, StorageError, UsageError, to_one_line
from schemas.output_set.image_folders import locate_folders, parse_places
from schemas.output_set.layout import (
    CARD,
    CROISSANT,
    DATA,
    INDEX,
    MANIFESTS,
    MAX_MANIFEST,
    PARTS,
    QUARANTINE,
    REPORT,
    STATS,
    DamagedManifest,
    list_manifest_files,
    read_manifest,
)
from schemas.output_set.manifest import Manifest, OutputFile, unseal
from schemas.output_set.recipe_file import MAX_RECIPE, RECIPE_FILE, read_stored_recipe
from schemas.output_set.unit_outputs import find_lost_outputs, get_unit_name
from schemas.storage.folder import Folder, UnsafeFile
from schemas.storage.parquet import UnreadableParquet, iterate_batches, open_parquet
from schemas.storage.row_objects import iterate_rows
from schemas.tar.reader import TarReader

Span = tuple[int, list[dict[str, Any]]]
"""The offset of a sample's first header in its tar, and name, offset and size in bytes of each member."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Describes one fault of a set, in a line that names its file."""

    line: str
    output: str | None = None
    """The name of the damaged output; None if the fault is in no output."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """Holds the contents of a set and all its faults."""

    names: list[str]
    """File names of the manifests."""
    manifests: dict[str, Manifest]
    """The undamaged manifests, by the names of their outputs."""
    faults: list[Fault]


def inspect(folder: Folder, images: Sequence[str] = (), reads_images: bool = True) -> Inspection:
    """Reads a whole set and returns its faults. Raises `UsageError` if the folder is not an output set.

    Of a set by reference, reads the images too if `reads_images`; `images` has the present folders of their tars, as
    `parse_places` takes them.
    """
    names = list_manifest_files(folder)
    if not names and not folder.exists(RECIPE_FILE):
        raise UsageError(f"{folder.url} is not an output set: it has no {RECIPE_FILE}")
    faults: list[Fault] = []
    manifests: dict[str, Manifest] = {}
    for name in names:
        try:
            manifests[name.removesuffix(".json")] = read_manifest(folder, name)
        except DamagedManifest as error:
            faults.append(Fault(str(error), name.removesuffix(".json")))
    faults += find_recipe_faults(folder, list(manifests.values()))
    for manifest in manifests.values():
        faults += [Fault(line, manifest.name) for line in find_output_faults(folder, manifest)]
    damaged = {fault.output for fault in faults}
    sound = [manifest for manifest in manifests.values() if manifest.name not in damaged]
    faults += map(Fault, find_reference_faults(folder, sound, images, reads_images))
    unread = {name.removesuffix(".json") for name in names} - set(manifests)
    kind = read_set_kind(folder)
    for name in find_lost_outputs(manifests, kind):
        if name not in unread:
            others = (other for other in manifests if get_unit_name(kind, other) == get_unit_name(kind, name))
            first = min(others, key=lambda other: (len(other), other), default=name.partition("_")[0])
            faults.append(
                Fault(f"{folder.resolve_path(MANIFESTS)}/{name}.json: is missing, but {first} refers to it", name)
            )
    faults += map(Fault, find_stray_files(folder, manifests, unread))
    if folder.list_files(PARTS):
        faults.append(Fault(f"{folder.resolve_path(PARTS)}: the run is not finished; the same command resumes it"))
    faults += map(Fault, find_stats_faults(folder))
    return Inspection(names, manifests, faults)


def read_set_kind(folder: Folder) -> object:
    """Returns the kind of a set's stored recipe, or None if that can't be read."""
    try:
        return read_stored_recipe(folder).get("kind")
    except ShardloomError:
        return None


def find_recipe_faults(folder: Folder, manifests: list[Manifest]) -> Iterator[Fault]:
    """Yields a fault if the stored recipe is missing or is not the one that made the outputs."""
    if not folder.exists(RECIPE_FILE):
        yield Fault(f"{folder.resolve_path(RECIPE_FILE)}: is missing")
        return
    try:
        sha256 = hashlib.sha256(folder.read_inside(RECIPE_FILE, MAX_RECIPE)).hexdigest()
    except UnsafeFile as error:
        yield Fault(str(error))
        return
    others = [manifest.name for manifest in manifests if manifest.recipe_sha256 != sha256]
    if others:
        line = f"is not the recipe that made {len(others)} outputs ({others[0]}): their command writes it again"
        yield Fault(f"{folder.resolve_path(RECIPE_FILE)}: {line}")


def find_stats_faults(folder: Folder) -> Iterator[str]:
    """Yields a fault if `stats.json` is not as it was written."""
    try:
        if folder.exists(STATS):
            unseal(folder.read_inside(STATS, MAX_MANIFEST))
    except UnsafeFile as error:
        yield str(error)
    except ValueError as error:
        yield f"{folder.resolve_path(STATS)}: {error}"


def find_output_faults(folder: Folder, manifest: Manifest) -> Iterator[str]:
    """Yields the faults in the files of one output. A file of the wrong size is not read."""
    sound: dict[str, int] = {}  # path -> rows found
    spans: list[Span] = []
    for out in manifest.outputs:
        if not folder.exists(out.path):
            yield f"{folder.resolve_path(out.path)}: is missing"
            continue
        try:
            folder.check_inside(out.path)
            if (size := folder.get_size(out.path)) != out.size:
                yield f"{folder.resolve_path(out.path)}: has {size} bytes, not {out.size}"
                continue
        except UnsafeFile as error:
            yield str(error)
            continue
        is_tar = out.path.endswith(".tar")
        size, sha256 = read_tar(folder, out.path, spans) if is_tar else folder.hash_file(out.path)
        if (size, sha256) != (out.size, out.sha256):
            yield (
                f"{folder.resolve_path(out.path)}: has {size} bytes of sha256 {sha256[:12]}..., "
                f"not {out.size} of {out.sha256[:12]}..."
            )
            continue
        try:
            sound[out.path] = len(spans) if is_tar else count_rows(folder, out)
        except UnreadableParquet as error:
            yield str(error)
            continue
        if sound[out.path] != out.rows:
            yield f"{folder.resolve_path(out.path)}: holds {sound[out.path]} rows, not {out.rows}"
    index, shard = f"{INDEX}/{manifest.name}.parquet", f"{DATA}/{manifest.name}"
    data = next((path for path in (f"{shard}.tar", f"{shard}.parquet") if path in sound), None)
    if index not in sound or data is None:
        return
    if sound[index] != sound[data]:
        yield f"{folder.resolve_path(index)}: lists {sound[index]} samples, but {data} holds {sound[data]}"
        return
    expected = map(build_expected_entry, spans) if data.endswith(".tar") else read_expected_entries(folder, data)
    try:
        yield from find_index_faults(folder, index, expected)
    except (ShardloomError, pa.ArrowException, ValueError, TypeError) as error:
        if isinstance(error, StorageError) and not folder.is_local:
            raise  # a store that does not answer is not a fault of the set
        yield f"{folder.resolve_path(index)}: {to_one_line(error)}"


def find_reference_faults(
    folder: Folder, manifests: list[Manifest], images: Sequence[str], reads_images: bool
) -> Iterator[str]:
    """Yields the faults in what undamaged outputs refer to: tars that are missing or have changed."""
    recorded = {one for manifest in manifests for one in manifest.image_folders}
    if not recorded:
        return
    places = parse_places(images, recorded)
    try:
        check = ReferenceCheck(locate_folders(folder, recorded, places), reads_images)
    except UsageError as error:
        yield str(error)
        return
    for manifest in manifests:
        try:
            check.check(folder, manifest.name)
        except (UnreadableParquet, pa.ArrowException, ValueError, TypeError) as error:
            yield f"{folder.resolve_path(INDEX)}/{manifest.name}.parquet: {to_one_line(error)}"
    yield from check.list_faults()


def read_tar(folder: Folder, path: str, spans: list[Span]) -> tuple[int, str]:
    """Returns size and SHA-256 of a tar, and appends the positions of its samples to `spans`, in one pass."""
    with folder.open(path) as file:
        reader = TarReader(file)
        for sample in reader:
            members = [{"name": m.name, "offset": m.offset, "size": len(m.data)} for m in sample.members.values()]
            spans.append((sample.start, members))
    return reader.size, reader.sha256


def build_expected_entry(found: Span) -> dict[str, Any]:
    """Returns the columns of the index that a sample of a tar must have."""
    start, members = found
    if not members:
        return {"key": None}
    key = members[0]["name"].partition(".")[0]
    parts = [{"ending": m["name"].removeprefix(f"{key}."), "offset": m["offset"], "size": m["size"]} for m in members]
    return {"key": key} | make_span(start, parts)


def read_expected_entries(folder: Folder, path: str) -> Iterator[dict[str, Any]]:
    """Yields the columns of the index that each sample of a Parquet shard must have."""
    with folder.open(path) as file:
        for batch in iterate_batches(open_parquet(file, folder.resolve_path(path)), columns=["key"]):
            for key in batch["key"].to_pylist():
                yield {"key": key, "offset": None, "size": None, "members": None}


def count_rows(folder: Folder, out: OutputFile) -> int:
    """Returns the number of rows in a Parquet file's footer; 0 for another file."""
    if not out.path.endswith(".parquet"):
        return 0
    with folder.open(out.path) as file:
        return open_parquet(file, folder.resolve_path(out.path)).rows


def find_index_faults(folder: Folder, index: str, expected: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yields a fault for the first sample whose entry in the index is wrong. `expected` has one for each row of it."""
    with folder.open(index) as file:
        batches = iterate_batches(open_parquet(file, folder.resolve_path(index)))
        rows = (row for batch in batches for row in iterate_rows(batch))
        for row, there in zip(rows, expected, strict=True):
            if any(row.get(name) != value for name, value in there.items()):
                yield f"{folder.resolve_path(index)}: sample {row.get('key')} is not where the index says"
                return


def find_stray_files(folder: Folder, manifests: dict[str, Manifest], unread: set[str]) -> Iterator[str]:
    """Yields the files of the set that no manifest lists, except those whose own manifest can't be read."""
    known = {RECIPE_FILE, STATS, CARD, CROISSANT, REPORT} | {
        out.path for manifest in manifests.values() for out in manifest.outputs
    }
    for below in ("", DATA, INDEX, QUARANTINE):
        for name in folder.list_files(below):
            path = f"{below}/{name}" if below else name
            if path not in known and name.partition(".")[0] not in unread:
                yield f"{folder.resolve_path(path)}: no manifest lists it"
