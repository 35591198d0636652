"""Opens the sources of a mixture: sets of training shards, found by their manifests and planned by their indexes.

The measures needed for planning (tokens, images or characters of each sample) are held in memory, 4 bytes per sample.
The rest of the indexes is needed a few rows at a time, in random order: it is written to Arrow files, which are
memory-mapped for the duration of a run.
"""

import hashlib
import io
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.mixture.image_tokens import MULTIMODAL_TOKENS, ImageTokenRule
from curation.mixture.references import StrayReference, locate_references
from curation.mixture.shards import ShardRows
from schemas.errors import ShardloomError, StorageError, UsageError, to_one_line
from schemas.output_set.image_folders import Places, is_below, locate_folders
from schemas.output_set.layout import DATA, PARTS, read_manifests, read_output
from schemas.output_set.layout import INDEX as INDEX_FOLDER
from schemas.output_set.manifest import InputFile, Manifest, OutputFile
from schemas.output_set.recipe_file import format_value, read_stored_recipe
from schemas.output_set.shard_index import BY_REFERENCE_SCHEMA, INDEX_SCHEMA, get_tokenizer
from schemas.output_set.unit_outputs import find_lost_outputs
from schemas.records.fingerprint import EngineFingerprint
from schemas.storage.folder import Folder
from schemas.storage.parquet import UnreadableParquet, read_table
from schemas.storage.path_patterns import is_pattern, list_matching
from schemas.storage.row_objects import TooManyEntries, check_entries

MEASURES = ("tokens", "images", "characters")
MAX_INDEX_BYTES = 256 << 20  # of one index in memory; that of 10,000 documents has about 30 MB
READER_THREADS = 8  # threads that read indexes: small files, perhaps in an object store

# The location of an index row: the number of the shard in `SourceSet.shards`, and of the row in that shard.
_LOCATION = (pa.field("shard", pa.int32()), pa.field("row", pa.int64()))


@dataclass(frozen=True, slots=True)
class SourceShard:
    """Names the files of one shard of a source."""

    folder: Folder
    data: OutputFile
    index: OutputFile
    image_folders: Mapping[str, str] = field(default_factory=dict)
    """The present folders, by the recorded ones, of the image tars that the index refers to, if it does."""

    @property
    def path(self) -> str:
        """The path of its data file."""
        return self.folder.resolve_path(self.data.path)


@dataclass(frozen=True, slots=True)
class SourceSet:
    """Describes one source: one or more sets. Its samples are numbered through all its shards."""

    name: str
    shards: tuple[SourceShard, ...]
    revisions: tuple[InputFile, ...]  # one per set: identifies its state by the hashes in its manifests

    @property
    def length(self) -> int:
        """The number of samples."""
        return sum(shard.data.rows for shard in self.shards)

    @property
    def is_by_reference(self) -> bool:
        """Whether some of its images are in tars outside of its sets."""
        return any(shard.image_folders for shard in self.shards)

    @property
    def index_schema(self) -> pa.Schema:
        """The schema of all its index rows."""
        return BY_REFERENCE_SCHEMA if self.is_by_reference else INDEX_SCHEMA


@dataclass(frozen=True, slots=True)
class SourceMeasures:
    """Holds the measures of a source's samples, from which mixtures are planned."""

    measures: dict[str, NDArray[np.int32]]  # the requested ones; those of tokens only if all are counted
    tokenizer: EngineFingerprint | None
    has_documents: bool  # or texts: not only captioned images


def open_sources(
    names: Iterable[str], patterns: Mapping[str, Sequence[str]], places: Places = MappingProxyType({})
) -> list[SourceSet]:
    """Opens these sources, each as `open_source` does. Raises `UsageError` for a place of images that no set names."""
    sources = [open_source(name, patterns[name], places) for name in names]
    recorded = {path for source in sources for shard in source.shards for path in shard.image_folders}
    for old in places:
        if not any(is_below(path, old) for path in recorded):
            known = ", ".join(sorted(recorded)[:3]) + (", ..." if len(recorded) > 3 else "")
            raise UsageError(f"images: no set refers to images in {old}; they refer to {known or 'none'}")
    return sources


def open_source(name: str, patterns: Sequence[str], places: Places = MappingProxyType({})) -> SourceSet:
    """Opens the sets in these folders or globs as one source. Raises `UsageError`, which names the source.

    `places` has the present folders of image tars that sets by reference refer to, where they have been moved.
    """
    shards: list[SourceShard] = []
    revisions: list[InputFile] = []
    for url in expand_folders(name, patterns):
        try:
            found, manifests = open_set(url, places)
        except UsageError as error:
            raise UsageError(f"source {name}: {error}") from None
        shards += found
        revisions.append(compute_set_revision(url, manifests))
    source = SourceSet(name, tuple(shards), tuple(revisions))
    if not source.length:
        raise UsageError(f"source {name}: there is no sample in {', '.join(patterns)}")
    return source


def open_set(
    url: str, places: Places, known: dict[str, Manifest] | None = None
) -> tuple[list[SourceShard], dict[str, Manifest]]:
    """Returns the shards of a finished set and its manifests, by name; `known` are these, if they have been read.

    Raises `UsageError`.
    """
    folder = Folder(url)
    kind = read_stored_recipe(folder).get("kind")
    manifests = read_manifests(folder) if known is None else known
    if folder.list_files(PARTS):
        raise UsageError(f"{url} is not finished: run its command again to resume it")
    if lost := find_lost_outputs(manifests, kind):
        raise UsageError(f"{url} lacks the output {lost[0]}: run its command again")
    recorded = {one for manifest in manifests.values() for one in manifest.image_folders}
    folders = locate_folders(folder, recorded, places)
    return [_find_shard(kind, folder, manifest, folders) for manifest in manifests.values()], manifests


def expand_folders(name: str, patterns: Sequence[str]) -> list[str]:
    """Expands globs and braces, and normalises paths. Returns each folder once, sorted by path. Raises `UsageError`."""
    found: set[str] = set()
    for pattern in patterns:
        try:
            paths = list_matching(pattern) if is_pattern(pattern) else [pattern.rstrip("/") or pattern]
        except UsageError as error:
            raise UsageError(f"source {name}: {error}") from None
        found |= {path if "://" in path else os.path.normpath(path) for path in paths}
    return sorted(found)


def compute_set_revision(url: str, manifests: dict[str, Manifest]) -> InputFile:
    """Returns the revision of a set: its size, and a SHA-256 over all outputs in its manifests."""
    state = [[out.path, out.size, out.sha256] for manifest in manifests.values() for out in manifest.outputs]
    digest = hashlib.sha256(json.dumps(sorted(state)).encode()).hexdigest()
    return InputFile(path=url, size=sum(size for _, size, _ in state), sha256=digest)


def read_measures(
    source: SourceSet, measures: Collection[str], image_tokens: ImageTokenRule | None = None
) -> SourceMeasures:
    """Reads the measures of all samples from a source's indexes; `image_tokens` is the rule of `MULTIMODAL_TOKENS`.

    Raises `UsageError` for an invalid index.
    """
    values: dict[str, list[NDArray[np.int32]]] = {name: [] for name in measures}
    tokenizers: set[str] = set()
    uncounted = has_documents = False
    for table in read_indexes(source):
        for name in values:
            if name == MULTIMODAL_TOKENS and image_tokens is not None:
                of_images = image_tokens.sum_by_sample(table["image_details"])
                values[name].append((pc.fill_null(table["tokens"], 0).to_numpy() + of_images).astype(np.int32))
            else:
                values[name].append(pc.fill_null(table[name], 0).to_numpy())
        tokenizer = get_tokenizer(table.schema)
        if table.num_rows:
            uncounted |= tokenizer is None or table["tokens"].null_count > 0
            tokenizers |= set() if tokenizer is None else {tokenizer.model_dump_json()}
            has_documents |= pc.any(pc.not_equal(table["kind"], "captioned_image")).as_py()
    if len(tokenizers) > 1:
        raise UsageError(f"source {source.name}: its sets' tokens were counted by different tokenizers")
    if uncounted:
        values = {name: parts for name, parts in values.items() if name not in ("tokens", MULTIMODAL_TOKENS)}
    counted = None if uncounted else EngineFingerprint.model_validate_json(tokenizers.pop())
    return SourceMeasures({name: np.concatenate(parts) for name, parts in values.items()}, counted, has_documents)


class MappedIndex:
    """Looks up the index rows of any samples of a source, with the shard and row of each.

    Writes the index into one Arrow file, with one batch per shard, and memory-maps it. References name the present
    paths of tars. Raises `StorageError`, and `UsageError` for a reference outside of the folders of the manifest.
    """

    def __init__(self, source: SourceSet, scratch: Path) -> None:
        self._places = ShardRows([shard.data.rows for shard in source.shards])
        # hashed, because names may contain any character
        path = scratch / f"{hashlib.sha256(source.name.encode()).hexdigest()[:16]}.arrow"
        schema = source.index_schema
        self._schema = pa.schema([*schema, *_LOCATION])
        try:
            with pa.ipc.new_file(str(path), schema) as file:
                for table in read_indexes(source, locating=True):
                    rows = table.select(schema.names).replace_schema_metadata(None).cast(schema)
                    batches = rows.combine_chunks().to_batches()
                    file.write_batch(batches[0] if batches else pa.RecordBatch.from_pylist([], schema=schema))
            self._index = pa.ipc.open_file(pa.memory_map(str(path)))
        except OSError as error:
            raise StorageError(f"cannot write {path}: {error.strerror or error}") from None

    def take(self, samples: NDArray[np.int64]) -> pa.Table:
        """Returns the index rows of these samples, in their order."""
        order = np.argsort(samples, kind="stable")
        shards, rows = self._places.find(samples[order])
        parts = []
        for shard in np.unique(shards):
            first, stop = np.searchsorted(shards, [shard, shard + 1])
            found = self._index.get_batch(int(shard)).take(pa.array(rows[first:stop]))
            place = [pa.array(shards[first:stop].astype(np.int32)), pa.array(rows[first:stop])]
            parts.append(pa.RecordBatch.from_arrays([*found.columns, *place], schema=self._schema))
        return pa.Table.from_batches(parts, schema=self._schema).combine_chunks().take(pa.array(np.argsort(order)))


def read_indexes(source: SourceSet, locating: bool = False) -> Iterator[pa.Table]:
    """Yields the indexes of all shards in order; reads some of them ahead. Raises `UsageError`.

    If `locating`, those of a source by reference all have references, with the present paths of tars.
    """
    is_located = locating and source.is_by_reference

    def read(shard: SourceShard) -> pa.Table:
        try:
            return read_index(shard, is_located)
        except UsageError as error:
            raise UsageError(f"source {source.name}: {error}") from None

    with ThreadPoolExecutor(READER_THREADS) as pool:
        for first in range(0, len(source.shards), 4 * READER_THREADS):
            yield from pool.map(read, source.shards[first : first + 4 * READER_THREADS])


def read_index(shard: SourceShard, locating: bool) -> pa.Table:
    """Reads the index of a shard; if `locating`, with references to the present paths of tars. Raises `UsageError`."""
    path = shard.folder.resolve_path(shard.index.path)
    try:
        data = read_output(shard.folder, shard.index.path, shard.index.sha256, shard.index.size)
    except ShardloomError as error:
        raise UsageError(str(error)) from None
    try:
        table = read_table(io.BytesIO(data), path=path, max_bytes=MAX_INDEX_BYTES)
    except (pa.ArrowException, OSError, UnreadableParquet) as error:
        raise UsageError(to_one_line(error)) from None
    layouts = (INDEX_SCHEMA.names, BY_REFERENCE_SCHEMA.names)
    if table.schema.names not in layouts or table.num_rows != shard.data.rows:
        raise UsageError(f"{path} is an index of another version: create the set again")
    try:
        check_entries(table)
        return locate_references(table, shard.image_folders) if locating else table
    except TooManyEntries as error:
        raise UsageError(f"{path} has {error}: verify the set") from None
    except (StrayReference, pa.ArrowException) as error:
        raise UsageError(f"{path}: {to_one_line(error)}: verify the set") from None


def _find_shard(kind: Any, folder: Folder, manifest: Manifest, folders: Mapping[str, str]) -> SourceShard:
    outputs = {out.path: out for out in manifest.outputs}
    index = outputs.get(f"{INDEX_FOLDER}/{manifest.name}.parquet")
    start = f"{DATA}/{manifest.name}."
    data = next((out for path, out in outputs.items() if path.startswith(start) and path.count("/") == 1), None)
    if index is None or data is None:
        raise UsageError(f"{folder.url} has no index: it is of kind {format_value(kind)}, no set of training shards")
    return SourceShard(folder, data, index, {one.path: folders[one.path] for one in manifest.image_folders})
