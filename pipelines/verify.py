"""Checks an output set: every byte against its hash, every row against its count, every offset against its sample."""

import hashlib
import io
from collections.abc import Iterator

import pyarrow.parquet as pq

from pipelines.output import DATA, INDEX, MANIFESTS, PARTS, QUARANTINE, STATS
from pipelines.recipe import RECIPE_FILE
from pipelines.storage import Folder
from schemas.errors import ShardloomError, UsageError
from schemas.manifest import Manifest, OutputFile, unseal
from schemas.tar_reader import TarReader


def verify(output: str) -> tuple[int, list[str]]:
    """The number of outputs checked, and what is wrong, one line a fault, each naming its file."""
    folder = Folder(output)
    if not folder.exists(RECIPE_FILE):
        raise UsageError(f"{output} is no output set: it holds no {RECIPE_FILE}")
    recipe_sha256 = hashlib.sha256(folder.read(RECIPE_FILE)).hexdigest()
    faults: list[str] = []
    known = {RECIPE_FILE, STATS}
    names = folder.names(MANIFESTS)
    for name in names:
        file = f"{MANIFESTS}/{name}"
        known.add(file)
        try:
            manifest = Manifest.from_json(folder.read(file))
        except (ValueError, ShardloomError) as error:
            faults.append(f"{folder.path(file)}: {' '.join(str(error).split())}")
            continue
        if manifest.recipe_sha256 != recipe_sha256:
            faults.append(f"{folder.path(RECIPE_FILE)}: is not the recipe that {file} was made by")
        known |= {out.path for out in manifest.outputs}
        faults += [fault for out in manifest.outputs for fault in output_faults(folder, out)]
        faults += index_faults(folder, manifest)
    faults += [f"{folder.path(name)}: no manifest tells of it" for name in strays(folder, known)]
    if folder.names(PARTS):
        faults.append(f"{folder.path(PARTS)}: the run is not finished; the same command goes on")
    if folder.exists(STATS):
        try:
            unseal(folder.read(STATS))
        except ValueError as error:
            faults.append(f"{folder.path(STATS)}: {error}")
    return len(names), faults


def output_faults(folder: Folder, out: OutputFile) -> Iterator[str]:
    """What is wrong with one output file."""
    path = folder.path(out.path)
    if not folder.exists(out.path):
        yield f"{path}: is missing"
        return
    size, sha256 = folder.sha256(out.path)
    if (size, sha256) != (out.size, out.sha256):
        yield f"{path}: has {size} bytes of sha256 {sha256[:12]}..., not {out.size} of {out.sha256[:12]}..."
        return
    with folder.open(out.path) as file:
        rows = (
            sum(1 for _ in TarReader(file, hashing=False)) if path.endswith(".tar") else pq.read_metadata(file).num_rows
        )
    if rows != out.rows:
        yield f"{path}: holds {rows} rows, not {out.rows}"


def index_faults(folder: Folder, manifest: Manifest) -> Iterator[str]:
    """Samples of a tar that do not lie where its index says."""
    index, shard = f"{INDEX}/{manifest.name}.parquet", f"{DATA}/{manifest.name}.tar"
    if not {index, shard} <= {out.path for out in manifest.outputs} or not folder.exists(index):
        return
    rows = pq.read_table(io.BytesIO(folder.read(index)), columns=["key", "image_offset", "image_size", "sha256"])
    with folder.open(shard) as file:
        for row in rows.to_pylist():
            file.seek(row["image_offset"])
            if hashlib.sha256(file.read(row["image_size"])).hexdigest() != row["sha256"]:
                yield f"{folder.path(index)}: the image of {row['key']} is not where it says"
                return


def strays(folder: Folder, known: set[str]) -> list[str]:
    """Files of the set that no manifest tells of."""
    found = [
        *folder.names(),
        *(f"{sub}/{name}" for sub in (DATA, INDEX, QUARANTINE, MANIFESTS) for name in folder.names(sub)),
    ]
    return [name for name in found if name not in known]


if __name__ == "__main__":
    import sys

    from pipelines.cli import main

    main(["verify", *sys.argv[1:]])
