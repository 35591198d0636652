"""What is wrong with an output set: every byte against its hash, every row against its count, every offset."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipelines.output.training_shards import span
from schemas.errors import ShardloomError, StorageError, UsageError, one_line
from schemas.output_set.layout import (
    DATA,
    INDEX,
    MANIFESTS,
    MAX_MANIFEST,
    PARTS,
    QUARANTINE,
    STATS,
    DamagedManifest,
    read_manifest,
)
from schemas.output_set.manifest import Manifest, OutputFile, unseal
from schemas.output_set.recipe_file import MAX_RECIPE, RECIPE_FILE, held_recipe
from schemas.output_set.unit_outputs import lost_outputs, unit_of
from schemas.storage.folder import Folder, StrangeFile
from schemas.storage.parquet import UnreadableParquet, batches_of, open_parquet
from schemas.tar.reader import TarReader

CARD = "README.md"  # a user's own words on the set
Span = tuple[int, list[dict[str, Any]]]
"""Offset of a sample's first header in its tar; name, offset and size of each of its members."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a set, in a line that names its file."""

    line: str
    output: str | None = None
    """The name of the output that is damaged by it; None where no output is."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a set holds, and all that is wrong with it."""

    names: list[str]
    """Files in the manifests' folder."""
    manifests: dict[str, Manifest]
    """Those that are what was written there, by the names of their outputs."""
    faults: list[Fault]


def inspect(folder: Folder) -> Inspection:
    """Reads all of a set. Raises `UsageError` when the folder is none."""
    names = folder.names(MANIFESTS)
    if not names and not folder.exists(RECIPE_FILE):
        raise UsageError(f"{folder.url} is no output set: it holds no {RECIPE_FILE}")
    faults: list[Fault] = []
    manifests: dict[str, Manifest] = {}
    for name in names:
        try:
            manifests[name.removesuffix(".json")] = read_manifest(folder, name)
        except DamagedManifest as error:
            faults.append(Fault(str(error), name.removesuffix(".json") if name.endswith(".json") else None))
    faults += recipe_faults(folder, list(manifests.values()))
    for manifest in manifests.values():
        faults += [Fault(line, manifest.name) for line in output_faults(folder, manifest)]
    unread = {name.removesuffix(".json") for name in names} - set(manifests)
    kind = kind_of(folder)
    for name in lost_outputs(manifests, kind):
        if name not in unread:
            others = (other for other in manifests if unit_of(kind, other) == unit_of(kind, name))
            first = min(others, key=lambda other: (len(other), other), default=name.partition("_")[0])
            faults.append(Fault(f"{folder.path(MANIFESTS)}/{name}.json: is missing, {first} tells of it", name))
    faults += map(Fault, stray_faults(folder, manifests, unread))
    if folder.names(PARTS):
        faults.append(Fault(f"{folder.path(PARTS)}: the run is not finished; the same command goes on"))
    faults += map(Fault, stats_faults(folder))
    return Inspection(names, manifests, faults)


def kind_of(folder: Folder) -> object:
    """The kind of a set's recipe; None where that does not say."""
    try:
        return held_recipe(folder).get("kind")
    except ShardloomError:
        return None


def recipe_faults(folder: Folder, manifests: list[Manifest]) -> Iterator[Fault]:
    """A recipe that is not the one by which the outputs were made."""
    if not folder.exists(RECIPE_FILE):
        yield Fault(f"{folder.path(RECIPE_FILE)}: is missing")
        return
    try:
        sha256 = hashlib.sha256(folder.read_inside(RECIPE_FILE, MAX_RECIPE)).hexdigest()
    except StrangeFile as error:
        yield Fault(str(error))
        return
    others = [manifest.name for manifest in manifests if manifest.recipe_sha256 != sha256]
    if others:
        line = f"is not the recipe that {len(others)} outputs ({others[0]}) were made by"
        yield Fault(f"{folder.path(RECIPE_FILE)}: {line}")


def stats_faults(folder: Folder) -> Iterator[str]:
    """Timings that are not what was written."""
    try:
        if folder.exists(STATS):
            unseal(folder.read_inside(STATS, MAX_MANIFEST))
    except StrangeFile as error:
        yield str(error)
    except ValueError as error:
        yield f"{folder.path(STATS)}: {error}"


def output_faults(folder: Folder, manifest: Manifest) -> Iterator[str]:
    """What is wrong with the files of one output. A file of another size is not read."""
    sound: dict[str, int] = {}  # path -> rows found
    spans: list[Span] = []
    for out in manifest.outputs:
        if not folder.exists(out.path):
            yield f"{folder.path(out.path)}: is missing"
            continue
        try:
            folder.check_inside(out.path)
            if (size := folder.size(out.path)) != out.size:
                yield f"{folder.path(out.path)}: has {size} bytes, not {out.size}"
                continue
        except StrangeFile as error:
            yield str(error)
            continue
        is_tar = out.path.endswith(".tar")
        size, sha256 = read_tar(folder, out.path, spans) if is_tar else folder.sha256(out.path)
        if (size, sha256) != (out.size, out.sha256):
            yield (
                f"{folder.path(out.path)}: has {size} bytes of sha256 {sha256[:12]}..., "
                f"not {out.size} of {out.sha256[:12]}..."
            )
            continue
        try:
            sound[out.path] = len(spans) if is_tar else rows_of(folder, out)
        except UnreadableParquet as error:
            yield str(error)
            continue
        if sound[out.path] != out.rows:
            yield f"{folder.path(out.path)}: holds {sound[out.path]} rows, not {out.rows}"
    index, shard = f"{INDEX}/{manifest.name}.parquet", f"{DATA}/{manifest.name}"
    try:
        if index in sound and f"{shard}.tar" in sound:
            yield from index_faults(folder, index, map(expected_in_tar, spans))
        elif index in sound and f"{shard}.parquet" in sound:
            yield from index_faults(folder, index, expected_in_table(folder, f"{shard}.parquet"))
    except (ShardloomError, pa.ArrowException, ValueError, TypeError) as error:
        if isinstance(error, StorageError) and not folder.is_local:
            raise  # a store that does not answer is no fault of the set's
        yield f"{folder.path(index)}: {one_line(error)}"


def read_tar(folder: Folder, path: str, spans: list[Span]) -> tuple[int, str]:
    """Size and hash of a tar in one pass, in which it is gathered where its samples lie."""
    with folder.open(path) as file:
        reader = TarReader(file)
        for sample in reader:
            members = [{"name": m.name, "offset": m.offset, "size": len(m.data)} for m in sample.members.values()]
            spans.append((sample.start, members))
    return reader.size, reader.sha256


def expected_in_tar(found: Span) -> dict[str, Any]:
    """What an index must say of where a sample lies."""
    start, members = found
    if not members:
        return {"key": None}
    key = members[0]["name"].partition(".")[0]
    parts = [{"ending": m["name"].removeprefix(f"{key}."), "offset": m["offset"], "size": m["size"]} for m in members]
    return {"key": key} | span(start, parts)


def expected_in_table(folder: Folder, path: str) -> Iterator[dict[str, Any]]:
    """What an index must say of the samples of a Parquet shard."""
    with folder.open(path) as file:
        for batch in batches_of(open_parquet(file, folder.path(path)), columns=["key"]):
            for key in batch["key"].to_pylist():
                yield {"key": key, "offset": None, "size": None, "members": None}


def rows_of(folder: Folder, out: OutputFile) -> int:
    """Rows of a Parquet file, by its own footer; another one has none."""
    if not out.path.endswith(".parquet"):
        return 0
    with folder.open(out.path) as file:
        return open_parquet(file, folder.path(out.path)).rows


def index_faults(folder: Folder, index: str, expected: Iterable[dict[str, Any]]) -> Iterator[str]:
    """The first sample that does not lie where its index says."""
    with folder.open(index) as file:
        batches = batches_of(open_parquet(file, folder.path(index)))
        rows = (row for batch in batches for row in batch.to_pylist())
        for row, there in zip(rows, expected, strict=False):
            if any(row.get(name) != value for name, value in there.items()):
                yield f"{folder.path(index)}: {row.get('key')} is not where it says"
                return


def stray_faults(folder: Folder, manifests: dict[str, Manifest], unread: set[str]) -> Iterator[str]:
    """Files of the set that no manifest tells of; those whose own manifest can't be read are not blamed for it."""
    known = {RECIPE_FILE, STATS, CARD} | {out.path for manifest in manifests.values() for out in manifest.outputs}
    for below in ("", DATA, INDEX, QUARANTINE):
        for name in folder.names(below):
            path = f"{below}/{name}" if below else name
            if path not in known and name.partition(".")[0] not in unread:
                yield f"{folder.path(path)}: no manifest tells of it"
