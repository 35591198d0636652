"""Checks an output set: every byte against its hash, every row against its count, every offset against its sample."""

import hashlib
import io
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow.parquet as pq

from pipelines.output.training_shards import span
from schemas.errors import ShardloomError, UsageError
from schemas.output_set.layout import DATA, INDEX, MANIFESTS, PARTS, QUARANTINE, STATS, read_manifest
from schemas.output_set.manifest import Manifest, OutputFile, unseal
from schemas.output_set.recipe_file import RECIPE_FILE
from schemas.storage.folder import Folder
from schemas.storage.parquet import read_table
from schemas.tar.reader import TarReader

CARD = "README.md"  # a user's own words on the set
Span = tuple[int, list[dict[str, Any]]]
"""Offset of a sample's first header in its tar; name, offset and size of each of its members."""


def verify(output: str) -> tuple[int, list[str]]:
    """The number of outputs checked, and what is wrong, one line a fault, each naming its file."""
    folder = Folder(output)
    names = folder.names(MANIFESTS)
    if not names and not folder.exists(RECIPE_FILE):
        raise UsageError(f"{output} is no output set: it holds no {RECIPE_FILE}")
    faults: list[str] = []
    manifests: list[Manifest] = []
    for name in names:
        try:
            manifests.append(read_manifest(folder, name))
        except ShardloomError as error:
            faults.append(str(error))
    faults += recipe_faults(folder, manifests)
    for manifest in manifests:
        faults += output_faults(folder, manifest)
    faults += stray_faults(folder, manifests, names)
    if folder.names(PARTS):
        faults.append(f"{folder.path(PARTS)}: the run is not finished; the same command goes on")
    if folder.exists(STATS):
        try:
            unseal(folder.read(STATS))
        except ValueError as error:
            faults.append(f"{folder.path(STATS)}: {error}")
    return len(names), faults


def recipe_faults(folder: Folder, manifests: list[Manifest]) -> Iterator[str]:
    """A recipe that is not the one by which the outputs were made."""
    if not folder.exists(RECIPE_FILE):
        yield f"{folder.path(RECIPE_FILE)}: is missing"
        return
    sha256 = hashlib.sha256(folder.read(RECIPE_FILE)).hexdigest()
    others = [manifest.name for manifest in manifests if manifest.recipe_sha256 != sha256]
    if others:
        yield f"{folder.path(RECIPE_FILE)}: is not the recipe that {len(others)} outputs ({others[0]}) were made by"


def output_faults(folder: Folder, manifest: Manifest) -> Iterator[str]:
    """What is wrong with the files of one output."""
    sound: dict[str, int] = {}  # path -> rows found
    spans: list[Span] = []
    for out in manifest.outputs:
        if not folder.exists(out.path):
            yield f"{folder.path(out.path)}: is missing"
            continue
        is_tar = out.path.endswith(".tar")
        size, sha256 = read_tar(folder, out.path, spans) if is_tar else folder.sha256(out.path)
        if (size, sha256) != (out.size, out.sha256):
            yield (
                f"{folder.path(out.path)}: has {size} bytes of sha256 {sha256[:12]}..., "
                f"not {out.size} of {out.sha256[:12]}..."
            )
            continue
        sound[out.path] = len(spans) if is_tar else rows_of(folder, out)
        if sound[out.path] != out.rows:
            yield f"{folder.path(out.path)}: holds {sound[out.path]} rows, not {out.rows}"
    index, shard = f"{INDEX}/{manifest.name}.parquet", f"{DATA}/{manifest.name}"
    if index in sound and f"{shard}.tar" in sound:
        yield from index_faults(folder, index, map(expected_in_tar, spans))
    elif index in sound and f"{shard}.parquet" in sound:
        with folder.open(f"{shard}.parquet") as file:
            keys = read_table(file, ["key"])["key"].to_pylist()
        nowhere = {"offset": None, "size": None, "members": None}
        yield from index_faults(folder, index, ({"key": key} | nowhere for key in keys))


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
    key = members[0]["name"].partition(".")[0]
    parts = [{"ending": m["name"].removeprefix(f"{key}."), "offset": m["offset"], "size": m["size"]} for m in members]
    return {"key": key} | span(start, parts)


def rows_of(folder: Folder, out: OutputFile) -> int:
    """Rows of a Parquet file, by its own footer; another one has none."""
    if not out.path.endswith(".parquet"):
        return 0
    with folder.open(out.path) as file:
        return int(pq.read_metadata(file).num_rows)


def index_faults(folder: Folder, index: str, expected: Iterable[dict[str, Any]]) -> Iterator[str]:
    """The first sample that does not lie where its index says."""
    rows = read_table(io.BytesIO(folder.read(index))).to_pylist()
    for row, there in zip(rows, expected, strict=False):
        if any(row.get(name) != value for name, value in there.items()):
            yield f"{folder.path(index)}: {row.get('key')} is not where it says"
            return


def stray_faults(folder: Folder, manifests: list[Manifest], names: list[str]) -> Iterator[str]:
    """Files of the set that no manifest tells of; those whose own manifest can't be read are not blamed for it."""
    known = {RECIPE_FILE, STATS, CARD} | {out.path for manifest in manifests for out in manifest.outputs}
    unread = {name.removesuffix(".json") for name in names} - {manifest.name for manifest in manifests}
    for below in ("", DATA, INDEX, QUARANTINE):
        for name in folder.names(below):
            path = f"{below}/{name}" if below else name
            if path not in known and name.partition(".")[0] not in unread:
                yield f"{folder.path(path)}: no manifest tells of it"
