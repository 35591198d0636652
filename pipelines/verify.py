"""Checks an output set: every byte against its hash, every row against its count, every offset against its sample."""

import hashlib
import io
from collections.abc import Iterator
from typing import BinaryIO

import pyarrow.parquet as pq

from pipelines.output import DATA, INDEX, MANIFESTS, PARTS, QUARANTINE, STATS, read_manifest
from pipelines.recipe import RECIPE_FILE
from pipelines.storage import Folder
from schemas.errors import ShardloomError, UsageError
from schemas.manifest import Manifest, OutputFile, unseal
from schemas.tar_reader import TarReader

Place = tuple[int, int]
"""Offset and size in bytes of a member of a tar."""


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
    members: list[dict[str, Place]] = []
    for out in manifest.outputs:
        if not folder.exists(out.path):
            yield f"{folder.path(out.path)}: is missing"
            continue
        with folder.open(out.path) as file:
            size, sha256 = read_tar(file, members) if out.path.endswith(".tar") else read_hash(file)
        if (size, sha256) != (out.size, out.sha256):
            yield (
                f"{folder.path(out.path)}: has {size} bytes of sha256 {sha256[:12]}..., "
                f"not {out.size} of {out.sha256[:12]}..."
            )
            continue
        sound[out.path] = len(members) if out.path.endswith(".tar") else parquet_rows(folder, out)
        if sound[out.path] != out.rows:
            yield f"{folder.path(out.path)}: holds {sound[out.path]} rows, not {out.rows}"
    index, shard = f"{INDEX}/{manifest.name}.parquet", f"{DATA}/{manifest.name}.tar"
    if index in sound and shard in sound:
        yield from index_faults(folder, index, members)


def read_tar(file: BinaryIO, members: list[dict[str, Place]]) -> tuple[int, str]:
    """Size and hash of a tar in one pass, in which the places of its samples' members are gathered."""
    reader = TarReader(file)
    for sample in reader:
        places = {member.name: (member.offset, len(member.data)) for member in sample.members.values()}
        members.append(places)
    return reader.size, reader.sha256


def read_hash(file: BinaryIO) -> tuple[int, str]:
    """Size and hash of any other file."""
    digest, size = hashlib.sha256(), 0
    while data := file.read(8 << 20):
        digest.update(data)
        size += len(data)
    return size, digest.hexdigest()


def parquet_rows(folder: Folder, out: OutputFile) -> int:
    """Rows of a Parquet file, by its own footer."""
    with folder.open(out.path) as file:
        return int(pq.read_metadata(file).num_rows)


def index_faults(folder: Folder, index: str, members: list[dict[str, Place]]) -> Iterator[str]:
    """Samples of a tar that do not lie where its index says."""
    rows = pq.read_table(io.BytesIO(folder.read(index))).to_pylist()
    for row, places in zip(rows, members, strict=False):
        said = {(row[f"{kind}_offset"], row[f"{kind}_size"]) for kind in ("image", "json", "text")}
        if said != set(places.values()) or not all(name.startswith(f"{row['key']}.") for name in places):
            yield f"{folder.path(index)}: {row['key']} is not where it says"
            return


def stray_faults(folder: Folder, manifests: list[Manifest], names: list[str]) -> Iterator[str]:
    """Files of the set that no manifest tells of; those whose own manifest can't be read are not blamed for it."""
    known = {RECIPE_FILE, STATS} | {out.path for manifest in manifests for out in manifest.outputs}
    unread = {name.removesuffix(".json") for name in names} - {manifest.name for manifest in manifests}
    for below in ("", DATA, INDEX, QUARANTINE):
        for name in folder.names(below):
            path = f"{below}/{name}" if below else name
            if path not in known and name.partition(".")[0] not in unread:
                yield f"{folder.path(path)}: no manifest tells of it"


if __name__ == "__main__":
    import sys

    from pipelines.cli import main

    main(["verify", *sys.argv[1:]])
