"""Reads samples from training shards by their index rows; in tars, each sample is one byte range.

The rows are in the order of a mixture, in which neighbouring samples may be in any shard of any source. So the reader
takes as many rows at a time as fit in memory, reads their samples shard by shard from front to back, and returns them
in the order of the rows.
"""

import hashlib
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from curation.mixture.ranges import ByteRange, RangeReader, Watch
from schemas.errors import ShardloomError, to_one_line
from schemas.json_text import MAX_JSON, parse_object
from schemas.records.captioned_image import CaptionedImage
from schemas.records.document import Document
from schemas.records.document_storage import from_members, from_row, to_members
from schemas.storage.parquet import UnreadableParquet, open_parquet, read_group
from schemas.storage.row_objects import iterate_rows
from schemas.tar.header import BLOCK

BUFFER_BYTES = 256 << 20  # bytes of samples in memory at once; a larger sample is read alone

Members = list[tuple[str, bytes]]
"""The endings and bytes of a sample's members, in their order in a tar."""

IndexRow = dict[str, Any]
"""An index row with the shard's `path`, which ends with `data/NAME`, the sample's number in it (`row`) and approximate
size (`bytes`).
"""


@dataclass(frozen=True, slots=True)
class ShardSample:
    """Holds one sample as stored in its shard, with its index row."""

    row: IndexRow
    members: Members


def read_samples(rows: pa.Table, buffer_bytes: int = BUFFER_BYTES, following: bool = True) -> Iterator[ShardSample]:
    """Yields the samples of these rows, in order, with at most `buffer_bytes` bytes of them in memory.

    Reads the images that the rows refer to only if `following`. Raises `ShardloomError` if a shard cannot be read,
    `CorruptSample` if a sample differs from its index row.
    """
    files = ShardFiles(following=following)
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
    """Reads samples from shard files, and if `following`, the images that their index rows refer to."""

    def __init__(self, watch: Watch = nullcontext, following: bool = True) -> None:
        self._watch, self._following = watch, following
        self._ranges = RangeReader(watch)

    def read(self, rows: list[IndexRow]) -> list[ShardSample]:
        """Returns the samples of these rows in their order; reads them in the order of the shards."""
        found: dict[int, Members] = {}
        for row in rows:
            _check_row(row)
        references = [(row.get("references") or ()) if self._following else () for row in rows]
        tables = sorted(
            (at for at, row in enumerate(rows) if row["offset"] is None),
            key=lambda at: (rows[at]["path"], rows[at]["row"]),
        )
        for at, members in zip(tables, self._read_table_rows([rows[at] for at in tables]), strict=True):
            found[at] = members
        tars = [at for at, row in enumerate(rows) if row["offset"] is not None]
        wanted = [ByteRange(rows[at]["path"], rows[at]["offset"], rows[at]["size"]) for at in tars]
        images = [
            ByteRange(reference["tar"], reference["offset"], reference["size"], is_image=True)
            for at in tars
            for reference in references[at]
        ]
        parts = self._ranges.read(wanted + images)
        others = iter(parts[len(wanted) :])
        for at, data in zip(tars, parts, strict=False):
            members = [(reference["ending"], next(others)) for reference in references[at]]
            found[at] = members + extract_members(rows[at], data)
            if self._following or not rows[at].get("references"):
                _check_images(rows[at], found[at])
        return [ShardSample(row, found[at]) for at, row in enumerate(rows)]

    def close(self) -> None:
        """Closes all files."""
        self._ranges.close()

    def _read_table_rows(self, rows: list[IndexRow]) -> Iterator[Members]:
        """Yields the samples of rows of Parquet shards, sorted by shard: reads each row group once."""
        at = 0
        while at < len(rows):
            path = rows[at]["path"]
            folder, name = self._ranges.find_file(path)
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


def extract_members(row: IndexRow, data: bytes) -> Members:
    """Extracts the members from a byte range of a tar. Raises `CorruptSample` if they are not where the row says."""
    members = []
    for member in row["members"]:
        start = member["offset"] - row["offset"]
        name = f"{row['key']}.{member['ending']}\0".encode()
        if len(data) != row["size"] or data[start - BLOCK : start - BLOCK + len(name)] != name:
            raise corrupt_sample_error(row)
        members.append((member["ending"], data[start : start + member["size"]]))
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

    reason = "it does not match its index row"


class ChangedImage(CorruptSample):
    """Says that an image which a set refers to has other bytes than those that the index was made from."""


def corrupt_sample_error(row: IndexRow) -> CorruptSample:
    """Returns the error for a sample that differs from its index row."""
    return CorruptSample(f"{row['path']}: {row['key']} does not match its index row: verify the set")


def _changed_image_error(row: IndexRow, tar: str) -> ChangedImage:
    reason = f"{tar} has changed since this set was made from it: restore the tar, or make the set again"
    error = ChangedImage(f"{row['path']}: {row['key']}: {reason}")
    error.reason = reason
    return error


def _check_row(row: IndexRow) -> None:
    """Raises `CorruptSample` for an index row with nulls where a reader needs values."""
    numbers = [] if row["offset"] is None else [row["offset"], row["size"]]
    entries = [*(row["image_details"] or []), *(() if row["offset"] is None else row["members"] or [None])]
    entries += row.get("references") or []
    if None in numbers or any(entry is None or None in entry.values() for entry in entries):
        raise corrupt_sample_error(row)


def _check_images(row: IndexRow, members: Members) -> None:
    """Checks the SHA-256 of each image: a mixture hashes what it copies, which would certify corrupt images."""
    images = [data for ending, data in members if ending not in ("json", "txt")]
    hashes = [hashlib.sha256(data).hexdigest() for data in images]
    expected = [image["sha256"] for image in row["image_details"]]
    if len(hashes) == len(expected):
        for reference, found, sha256 in zip(row.get("references") or (), hashes, expected, strict=False):
            if found != sha256:
                raise _changed_image_error(row, reference["tar"])
    if hashes != expected:
        raise corrupt_sample_error(row)
