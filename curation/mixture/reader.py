"""Reads samples from training shards by their index rows; in tars, each sample is one byte range.

The rows are in the order of a mixture, in which neighbouring samples may be in any shard of any source. So the reader
takes as many rows at a time as fit in memory, reads their samples shard by shard from front to back, and returns them
in the order of the rows.
"""

import hashlib
import itertools
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from schemas.errors import ShardloomError, to_one_line
from schemas.json_text import MAX_JSON, parse_object
from schemas.records.captioned_image import CaptionedImage
from schemas.records.document import Document
from schemas.records.document_storage import from_members, from_row, to_members
from schemas.storage.folder import Folder
from schemas.storage.parquet import UnreadableParquet, open_parquet, read_group
from schemas.storage.row_objects import iterate_rows
from schemas.tar.header import BLOCK

BUFFER_BYTES = 256 << 20  # bytes of samples in memory at once; a larger sample is read alone
MAX_OPEN_FILES = 64  # files that a worker keeps open
CONNECTIONS = 16  # parallel requests to an object store
MAX_GAP_BYTES = 256 << 10  # bytes between two samples of an object; reading them costs less than another request
MAX_RANGE_BYTES = 8 << 20  # bytes of samples per request, so that several requests run in parallel

Members = list[tuple[str, bytes]]
"""The endings and bytes of a sample's members, in their order in a tar."""

IndexRow = dict[str, Any]
"""An index row with the shard's `path`, which ends with `data/NAME`, the sample's number in it (`row`) and approximate
size (`bytes`).
"""

Watch = Callable[[str], AbstractContextManager[object]]
"""Returns a context that lasts while the shard of this path or URL is read; several may last at a time."""


@dataclass(frozen=True, slots=True)
class ShardSample:
    """Holds one sample as stored in its shard, with its index row."""

    row: IndexRow
    members: Members


def read_samples(rows: pa.Table, buffer_bytes: int = BUFFER_BYTES) -> Iterator[ShardSample]:
    """Yields the samples of these rows, in order, with at most `buffer_bytes` bytes of them in memory.

    Raises `ShardloomError` if a shard cannot be read, `CorruptSample` if a sample differs from its index row.
    """
    files = ShardFiles()
    try:
        start, ends = 0, np.cumsum(rows["bytes"].to_numpy())
        while start < len(ends):
            limit = buffer_bytes + (ends[start - 1] if start else 0)
            stop = max(start + 1, int(np.searchsorted(ends, limit, side="right")))
            yield from files.read(to_index_rows(rows.slice(start, stop - start)))
            start = stop
    finally:
        files.close()


def to_index_rows(rows: pa.Table) -> list[IndexRow]:
    """Returns index rows as Python objects. Raises `CorruptSample` for one with more members than any sample has."""
    try:
        return list(iterate_rows(rows))
    except ValueError as error:
        paths = rows["path"].unique().to_pylist() if "path" in rows.schema.names else []
        place = paths[0] if len(paths) == 1 else f"one of {len(paths)} shards"
        raise CorruptSample(f"{place}: its index has {to_one_line(error)}: verify the set") from None


class ShardFiles:
    """Reads from shard files and keeps the most recently used local ones open."""

    def __init__(self, watch: Watch = nullcontext) -> None:
        self._watch = watch
        self._descriptors: OrderedDict[str, int] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._folders: dict[str, Folder] = {}

    def read(self, rows: list[IndexRow]) -> list[ShardSample]:
        """Returns the samples of these rows in their order; reads them in the order of the shards."""
        found: dict[int, Members] = {}
        for row in rows:
            _check_row(row)
        order = sorted(range(len(rows)), key=lambda at: (rows[at]["path"], rows[at]["row"]))
        tables = [at for at in order if rows[at]["offset"] is None]
        tars = [at for at in order if rows[at]["offset"] is not None]
        distant = [at for at in tars if not self._find_file(rows[at])[0].is_local]
        for at, members in zip(tables, self._read_table_rows([rows[at] for at in tables]), strict=True):
            found[at] = members
        for at in tars:
            if self._find_file(rows[at])[0].is_local:
                with self._watch(rows[at]["path"]):
                    data = self._read_local_range(rows[at])
                found[at] = extract_members(rows[at], data)
        if distant:
            runs = list(group_adjacent_rows([rows[at] for at in distant]))
            with ThreadPoolExecutor(CONNECTIONS) as pool:
                samples = itertools.chain.from_iterable(pool.map(self._read_remote_samples, runs))
                for at, data in zip(distant, samples, strict=True):
                    found[at] = extract_members(rows[at], data)
        return [ShardSample(row, found[at]) for at, row in enumerate(rows)]

    def close(self) -> None:
        """Closes all files."""
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()

    def _find_file(self, row: IndexRow) -> tuple[Folder, str]:
        """Returns the set's folder and the name of the shard's file in it: a linked `data` leads out of the set."""
        url, *name = row["path"].rsplit("/", 2)
        if url not in self._folders:
            self._folders[url] = Folder(url or "/")
        return self._folders[url], "/".join(name)

    def _read_local_range(self, row: IndexRow) -> bytes:
        path = row["path"]
        try:
            if path not in self._descriptors:
                if len(self._descriptors) == MAX_OPEN_FILES:
                    os.close(self._descriptors.popitem(last=False)[1])
                folder, name = self._find_file(row)
                folder.check_inside(name)
                self._descriptors[path] = os.open(folder.get_local_path(name), os.O_RDONLY)
                self._sizes[path] = os.fstat(self._descriptors[path]).st_size
            self._descriptors.move_to_end(path)
            # `pread` allocates memory before it reads, so check the size first
            if not 0 <= row["offset"] <= row["offset"] + row["size"] <= self._sizes[path]:
                raise corrupt_sample_error(row)
            return os.pread(self._descriptors[path], row["size"], row["offset"])
        except OSError as error:
            raise ShardloomError(f"cannot read {path}: {error.strerror}") from None

    def _read_remote_samples(self, rows: list[IndexRow]) -> list[bytes]:
        """Reads neighbouring samples of one shard in one request."""
        folder, name = self._find_file(rows[0])
        first = rows[0]["offset"]
        with self._watch(rows[0]["path"]):
            data = folder.read_range(name, first, max(row["offset"] + row["size"] for row in rows))
        return [data[row["offset"] - first : row["offset"] - first + row["size"]] for row in rows]

    def _read_table_rows(self, rows: list[IndexRow]) -> Iterator[Members]:
        """Yields the samples of rows of Parquet shards, sorted by shard: reads each row group once."""
        at = 0
        while at < len(rows):
            path = rows[at]["path"]
            folder, name = self._find_file(rows[at])
            folder.check_inside(name)
            with self._watch(path), folder.open(name) as file:
                try:
                    table = open_parquet(file, path)
                    ends = np.cumsum([table.count_group_rows(number) for number in table.groups])
                    while at < len(rows) and rows[at]["path"] == path:
                        number = int(np.searchsorted(ends, rows[at]["row"], side="right"))
                        group = read_group(table, number)
                        first = int(ends[number]) - group.num_rows
                        while at < len(rows) and rows[at]["path"] == path and rows[at]["row"] < ends[number]:
                            yield build_members(rows[at], next(iterate_rows(group.slice(rows[at]["row"] - first, 1))))
                            at += 1
                except (pa.ArrowException, UnreadableParquet, ValueError, IndexError) as error:
                    raise ShardloomError(f"cannot read {path}: {to_one_line(error)}") from None


def group_adjacent_rows(rows: list[IndexRow]) -> Iterator[list[IndexRow]]:
    """Groups rows, sorted by shard and position, into runs that one request should read."""
    run: list[IndexRow] = []
    for row in rows:
        if run and (
            row["path"] != run[0]["path"]
            or row["offset"] - (run[-1]["offset"] + run[-1]["size"]) > MAX_GAP_BYTES
            or row["offset"] + row["size"] - run[0]["offset"] > MAX_RANGE_BYTES
        ):
            yield run
            run = []
        run.append(row)
    if run:
        yield run


def extract_members(row: IndexRow, data: bytes) -> Members:
    """Extracts the members from a byte range of a tar. Raises `CorruptSample` if they differ from the index row."""
    members = []
    for member in row["members"]:
        start = member["offset"] - row["offset"]
        name = f"{row['key']}.{member['ending']}\0".encode()
        if len(data) != row["size"] or data[start - BLOCK : start - BLOCK + len(name)] != name:
            raise corrupt_sample_error(row)
        members.append((member["ending"], data[start : start + member["size"]]))
    _check_images(row, members)
    return members


def build_members(row: IndexRow, stored: dict[str, Any]) -> Members:
    """Converts a row of a Parquet shard into tar members. Raises `CorruptSample` if it differs from the index row."""
    try:
        if "texts" in stored:
            members = to_members(from_row(stored))
        else:
            image = stored.pop("image")
            extension = image["path"].rpartition(".")[2]
            members = CaptionedImage(**stored, extension=extension, image=image["bytes"]).to_members()
    except (ValueError, TypeError, KeyError, AttributeError):
        raise corrupt_sample_error(row) from None
    if stored.get("key") != row["key"]:
        raise corrupt_sample_error(row)
    _check_images(row, members)
    return members


def build_record(row: IndexRow, members: Members, key: str) -> CaptionedImage | Document:
    """Builds the record of a sample's members, under a new key. Raises `CorruptSample` if they cannot be parsed."""
    by_ending = dict(members)
    try:
        if row["kind"] != "captioned_image":
            return from_members(key, by_ending)
        extension, image = members[0]
        details = parse_object(by_ending["json"], "the .json member", MAX_JSON) | {"key": key}
        return CaptionedImage(**details, text=by_ending["txt"].decode(), extension=extension, image=image)
    except (ValueError, TypeError, KeyError):
        raise corrupt_sample_error(row) from None


class CorruptSample(ShardloomError):
    """Says that one sample differs from its index row; its neighbours may be intact."""


def corrupt_sample_error(row: IndexRow) -> CorruptSample:
    """Returns the error for a sample that differs from its index row."""
    return CorruptSample(f"{row['path']}: {row['key']} does not match its index row: verify the set")


def _check_row(row: IndexRow) -> None:
    """Raises `CorruptSample` for an index row with nulls where a reader needs values."""
    numbers = [] if row["offset"] is None else [row["offset"], row["size"]]
    entries = [*(row["image_details"] or []), *(() if row["offset"] is None else row["members"] or [None])]
    if None in numbers or any(entry is None or None in entry.values() for entry in entries):
        raise corrupt_sample_error(row)


def _check_images(row: IndexRow, members: Members) -> None:
    """Checks the SHA-256 of each image: a mixture hashes what it copies, which would certify corrupt images."""
    images = [data for ending, data in members if ending not in ("json", "txt")]
    hashes = [hashlib.sha256(data).hexdigest() for data in images]
    if hashes != [image["sha256"] for image in row["image_details"]]:
        raise corrupt_sample_error(row)
