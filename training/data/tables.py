"""Makes and opens the tables that sequences are planned from: for each source a few numbers and a row per sample.

A table is made once, from the indexes (and from the texts where an index lacks token counts), kept in a cache folder
and memory-mapped from there, so that a start takes no time, and five hundred million samples take no Python object. A
table's name is the hash of everything it depends on. A table that exists is complete, because a rename puts it there.
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.mixture.image_tokens import ImageTokenRule
from curation.mixture.reader import IndexRow
from curation.mixture.references import StrayReference, locate_row
from curation.mixture.shards import ShardRows
from curation.mixture.sources import SourceSet
from schemas.errors import UsageError
from schemas.log import LOG
from schemas.output_set.shard_index import INDEX_SCHEMA, REFERENCES
from schemas.storage.file_lock import acquire_file_lock
from schemas.storage.home import find_home
from training.data.counting import NO_TEXT, PartTokenCounter, count_part_tokens
from training.data.images import ImageTiler
from training.data.markup import Markup

TABLE_VERSION = 2  # raised when the same rule chooses other texts
CACHED_SHARDS = 1024  # shards whose layout in the table's file is cached: reading it is half the cost of finding a row

NUMBER_NAMES = ("words", "tiles", "tokens", "images", "characters")
"""The numbers of each sample. `words` counts its positions without images, or is the (negative) reason why it is left
out; mixtures are weighted by the last three."""

# Only the columns of the index that reading and cutting a sample need.
_COLUMNS = ("key", "kind", "offset", "size", "members", "image_details", "part_tokens", "roles")
ROW_SCHEMA = pa.schema([INDEX_SCHEMA.field(name) for name in _COLUMNS])
BY_REFERENCE_ROW_SCHEMA = ROW_SCHEMA.append(REFERENCES)  # of a source of which some sets are by reference


@dataclass(frozen=True)
class SampleTable:
    """Holds the numbers and rows of one source's samples."""

    numbers: dict[str, NDArray[np.int32]]  # by the names in `NUMBER_NAMES`
    rows: "IndexRows"


class IndexRows:
    """Looks up the index rows of a source's samples, each with its place."""

    def __init__(self, source: SourceSet, path: Path) -> None:
        self._places = ShardRows([shard.data.rows for shard in source.shards])
        self._paths = [shard.path for shard in source.shards]
        self._image_folders = [shard.image_folders for shard in source.shards]
        self._batch = lru_cache(CACHED_SHARDS)(pa.ipc.open_file(_map_file(path)).get_batch)

    def find_shard(self, sample: int) -> str:
        """Returns the path of the shard that holds the sample; reads nothing."""
        shards, _ = self._places.find(np.asarray([sample]))
        return self._paths[int(shards[0])]

    def take(self, samples: NDArray[np.int64]) -> list[IndexRow]:
        """Returns the rows of these samples, in the order given, as `ShardFiles.read` takes them.

        Raises `UsageError` for a reference outside of the folders that its manifest names.
        """
        shards, rows = self._places.find(samples)
        found = []
        for shard, row in zip(shards.tolist(), rows.tolist(), strict=True):
            index = self._batch(shard).slice(row, 1).to_pylist()[0]
            try:
                located = locate_row(index, self._image_folders[shard])
            except StrayReference as error:
                raise UsageError(f"{self._paths[shard]}: {index['key']}: {error}: verify the set") from None
            found.append(located | {"path": self._paths[shard], "row": row})
        return found

    def find_keys(self, keys: pa.Array) -> Iterator[tuple[str, pa.RecordBatch]]:
        """Yields the rows of the samples with one of these keys, with the path of their shard; reads all keys."""
        for shard, path in enumerate(self._paths):
            rows = self._batch(shard)
            if (found := rows.filter(pc.is_in(rows["key"], value_set=keys))).num_rows:
                yield path, found

    def read_keys(self) -> pa.ChunkedArray:
        """Returns the keys of all samples."""
        return pa.chunked_array([self._batch(shard)["key"] for shard in range(len(self._paths))], pa.string())

    def count_image_tokens(self, rule: ImageTokenRule) -> NDArray[np.int32]:
        """Counts the tokens of each sample's images by a rule; this reads the sizes of all images."""
        batches = (self._batch(shard)["image_details"] for shard in range(len(self._paths)))
        counts = [rule.sum_by_sample(pa.chunked_array([details])).astype(np.int32) for details in batches]
        return np.concatenate(counts)

    def find_image_outside_conversations(self) -> str | None:
        """Returns the path and key of a sample that has an image and is no conversation; None if there is none."""
        for shard, path in enumerate(self._paths):
            rows = self._batch(shard)
            has_image = pc.greater(pc.fill_null(pc.list_value_length(rows["image_details"]), 0), 0)
            if keys := rows.filter(pc.and_(has_image, pc.not_equal(rows["kind"], "conversation")))["key"].to_pylist():
                return f"{path}: {keys[0]}"
        return None


class TableMaker:
    """Opens tables, and makes those that do not exist yet."""

    def __init__(self, counter: PartTokenCounter, markup: Markup, tiler: ImageTiler, cache: str | None) -> None:
        """Takes one source's `counter`, with its tokenizer and rule; `cache` defaults to the user's cache folder."""
        self.counter, self.markup, self.tiler = counter, markup, tiler
        self._cache = Path(cache) if cache else _get_cache_home() / "shardloom" / "tables"

    def open(self, source: SourceSet) -> SampleTable:
        """Opens the source's table. One process on a machine makes it, and the others wait.

        Raises `UsageError` when the cache can't be written.
        """
        folder = self._cache / self.compute_key(source)
        try:
            if not folder.is_dir():
                with acquire_file_lock(folder.with_suffix(".lock")):
                    if not folder.is_dir():
                        self._build_table(source, folder)
        except OSError as error:
            what = error.strerror or error
            raise UsageError(f"cache: cannot write {error.filename or folder}: {what}; set data.cache") from None
        numbers = {name: _map_array(folder / f"{name}.npy") for name in NUMBER_NAMES}
        return SampleTable(numbers, IndexRows(source, folder / "rows.arrow"))

    def compute_key(self, source: SourceSet) -> str:
        """Returns the hash of everything that the table depends on."""
        dependencies = [
            TABLE_VERSION,
            [revision.sha256 for revision in source.revisions],
            self.counter.rule.model_dump(mode="json"),
            0 if self.counter.rule.is_stored else self.counter.seed,
            self.counter.tokenizer.fingerprint.model_dump(mode="json"),
            self.tiler.fingerprint,
            self.markup.fingerprint,
        ]
        return hashlib.sha256(json.dumps(dependencies).encode()).hexdigest()[:32]

    def _build_table(self, source: SourceSet, folder: Path) -> None:
        making = Path(tempfile.mkdtemp(prefix=f"{folder.name}.tmp-", dir=self._cache))
        try:
            numbers = {
                name: np.lib.format.open_memmap(making / f"{name}.npy", "w+", np.int32, (source.length,))
                for name in NUMBER_NAMES
            }
            done, progress, has_conversations = 0, _Progress(source.name, len(source.shards)), False
            schema = BY_REFERENCE_ROW_SCHEMA if source.is_by_reference else ROW_SCHEMA
            with pa.ipc.new_file(str(making / "rows.arrow"), schema) as file:
                for index, reasons in count_part_tokens(self.counter, source):
                    self._check_kinds(source.name, index)
                    if not has_conversations and "conversation" in index["kind"].unique().to_pylist():
                        has_conversations = True
                        if note := self.markup.chat.note:
                            LOG.info(f"source {source.name}: {note}")
                    for name, values in self._compute_numbers(index, reasons).items():
                        numbers[name][done : done + index.num_rows] = values
                    done += index.num_rows
                    rows = _select_columns(index, schema).combine_chunks()
                    file.write_batch(next(iter(rows.to_batches()), pa.RecordBatch.from_pylist([], schema=schema)))
                    progress.add_shard(index.num_rows)
            for array in numbers.values():
                array.flush()
            making.chmod(0o755)
            try:
                making.rename(folder)
            except OSError:
                if not folder.is_dir():  # another machine's process was faster, where locks don't hold
                    raise
        finally:
            shutil.rmtree(making, ignore_errors=True)

    def _check_kinds(self, name: str, index: pa.Table) -> None:
        rule = self.counter.rule
        if rule.granularities is None and rule.raw_caption is None:
            return
        if pc.any(pc.not_equal(index["kind"], "captioned_image")).as_py():
            raise UsageError(
                f"texts.{name}: granularities and raw_caption choose among the captions of an image, but the source "
                "has documents: leave them out"
            )

    def _compute_numbers(self, index: pa.Table, reasons: NDArray[np.int32]) -> dict[str, NDArray[np.int32]]:
        """Computes the numbers of each sample of a shard."""
        markup = self.markup
        lists = index["part_tokens"].combine_chunks()
        starts, ends = _compute_bounds(lists)
        values = lists.flatten()
        is_text = values.is_valid().to_numpy(zero_copy_only=False)
        tokens = _sum_ranges(pc.fill_null(values, 0).to_numpy(), starts, ends)
        follows = is_text[1:] & is_text[:-1]  # a text after a text, perhaps of the previous sample
        pairs = _sum_ranges(np.append(follows, False), starts, np.maximum(starts, ends - 1))
        images = index["images"].to_numpy()
        words = tokens + pairs * len(markup.joint) + images * len(markup.end_of_chunk) + len(markup.bos) + 1
        for row in np.flatnonzero(pc.equal(index["kind"], "conversation").to_numpy(zero_copy_only=False)).tolist():
            roles = index["roles"][row].as_py() or []
            words[row] = tokens[row] + markup.chat.count_overhead(roles, int(images[row]))
        words = np.where(tokens == 0, NO_TEXT, words)
        details = index["image_details"].combine_chunks()
        sizes = details.flatten()
        tiles = self.tiler.count_tiles(sizes.field("width").to_numpy(), sizes.field("height").to_numpy())
        return {
            "words": np.where(reasons < 0, reasons, words).astype(np.int32),
            "tiles": _sum_ranges(tiles, *_compute_bounds(details)).astype(np.int32),
            "tokens": tokens.astype(np.int32),
            "images": images,
            "characters": index["characters"].to_numpy(),
        }


class _Progress:
    """Prints a line every few seconds while a table is made; a table that takes less prints nothing."""

    INTERVAL_SECONDS = 5.0  # seconds

    def __init__(self, name: str, shards: int) -> None:
        self._name, self._shards = name, shards
        self._done = self._samples = 0
        self._start_time = self._last_line_time = time.monotonic()

    def add_shard(self, samples: int) -> None:
        """Counts one more shard, of `samples` samples."""
        self._done += 1
        self._samples += samples
        now = time.monotonic()
        if now - self._last_line_time > self.INTERVAL_SECONDS:
            self._last_line_time = now
            rate = self._samples / (now - self._start_time)
            LOG.info(
                f"source {self._name}: lengths of {self._samples:,} samples, "
                f"{self._done:,} of {self._shards:,} shards, {rate:,.0f} samples/s"
            )


def _select_columns(index: pa.Table, schema: pa.Schema) -> pa.Table:
    """Returns the columns of a table's rows; of a set that is not by reference, the references are null."""
    if REFERENCES.name in schema.names and REFERENCES.name not in index.schema.names:
        index = index.append_column(REFERENCES, pa.nulls(index.num_rows, REFERENCES.type))
    return index.select(schema.names).replace_schema_metadata(None).cast(schema)


def _map_array(path: Path) -> NDArray[np.int32]:
    """Maps an array of numpy's format 1.0 into memory, read-only."""
    buffer = _map_file(path)
    file = pa.BufferReader(buffer)
    np.lib.format.read_magic(file)
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    return np.frombuffer(buffer, dtype, offset=file.tell()).reshape(shape)


def _map_file(path: Path) -> pa.Buffer:
    """Maps a file into memory. No descriptor stays open: numpy's maps would keep six a source, of up to 1,000."""
    with pa.memory_map(str(path)) as file:
        return file.read_buffer()


def _compute_bounds(lists: pa.ListArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns where each list begins and ends in `flatten`; a null is empty."""
    ends = np.cumsum(pc.fill_null(pc.list_value_length(lists), 0).to_numpy().astype(np.int64))
    return np.concatenate([[0], ends[:-1]]).astype(np.int64)[: len(ends)], ends


def _sum_ranges(values: NDArray[Any], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    total = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
    range_sums: NDArray[np.int64] = total[ends] - total[starts]
    return range_sums


def _get_cache_home() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or find_home("data.cache") / ".cache")
