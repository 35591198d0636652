"""Traces a row of an annotation set to its engines and to the member of an image shard."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.explain.origin import Step
from pipelines.explain.trace import FoundRow, Trace, find_member, find_row
from pipelines.view.image_shards import ImageShards, find_tars
from pipelines.view.parquet_files import find_file, list_data_files, list_tars, read_file
from pipelines.view.source import SetSource
from schemas.errors import UsageError
from schemas.output_set.layout import DATA
from schemas.output_set.manifest import InputFile
from schemas.output_set.recipe_file import read_stored_recipe
from schemas.storage.folder import Folder


def trace_annotation(folder: Folder, key: str, trace: Trace, name: str | None = None) -> FoundRow:
    """Adds the row of an annotation set, in its output `name` or in any, its engines and its image. Returns the row."""
    source = SetSource(folder, read_stored_recipe(folder))
    found = find_row(list_data_files(source), lambda name: read_file(source, name), key, folder.url, name)
    row, manifest = found.row, source.manifests[found.name]
    trace.annotations, trace.size = row, (row["width"], row["height"])
    trace.engines |= manifest.fingerprints
    file = find_file(manifest, DATA)
    assert file is not None, "its row has been read"
    facts = [
        ("file sha256", file.sha256),
        ("size", f"{row['width']} x {row['height']} pixels"),
        ("recipe sha256", manifest.recipe_sha256),
    ]
    trace.steps.append(Step("annotate", folder.url, f"{file.path}, row {found.number}", tuple(facts)))
    add_image(trace, folder, manifest.inputs, list_tars(manifest), found.name, row)
    return found


def add_image(
    trace: Trace, output: Folder, inputs: Sequence[InputFile], tars: Sequence[str], shard: str, row: Mapping[str, Any]
) -> None:
    """Adds the member of the image shard that a row is about: `shard` is the shard's name, and `tars` are recorded."""
    path = locate_tar(trace.inputs.open_images(output), tars, shard, output.url)
    image, trace.image = find_member(path, row["key"], row["sha256"])
    recorded = find_tars((one.path for one in inputs), shard)
    facts = [(name, row[name]) for name in ("uid", "url") if row.get(name)]
    facts += [("shard sha256", one.sha256) for one in inputs if one.path in recorded[:1] and one.sha256]
    trace.steps.append(Step("source", path, f"sample {row['key']}", tuple(facts), image))


def locate_tar(images: ImageShards, recorded: Sequence[str], shard: str, made: str) -> str:
    """Returns the path of an image shard. Raises `UsageError` if it is not found."""
    path = images.locate(recorded, shard)
    if path is None:
        why = next(iter(images.notes), f"the image shard {shard} is not recorded: pass --images")
        raise UsageError(f"{made}: {why}")
    return path
