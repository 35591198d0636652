"""Cuts the files of a published set into units of work and streams the items of a unit.

A unit is a row range of one file: whole row groups of Parquet, lines, or items of a JSON list, with at most as many
rows as a training shard has samples. A tar is one unit. The cut depends on the file and on that number alone.
"""

import functools
import hashlib
import itertools
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from curation.sources import SourceReader
from curation.sources.formats.joined_file import JoinedFile
from pipelines.cluster.runner import Runner
from pipelines.inputs import parquet_rows
from pipelines.inputs.row_choice import RowChoice, choose_rows
from pipelines.inputs.shards import InputShard, find_missing_downloads
from pipelines.recipes.rows import ChosenRows
from pipelines.terminal.progress import Progress
from schemas.compression import SIGNATURE_BYTES, check_uncompressed
from schemas.errors import ShardloomError, UsageError
from schemas.json_text import MAX_JSON
from schemas.masking import mask_secrets
from schemas.output_set.manifest import InputFile
from schemas.records.quarantine import Reason, Rejected
from schemas.storage.folder import split_path
from schemas.storage.path_patterns import list_matching
from schemas.tar.reader import TarReader

CHECKED_LINES = 100  # at the start of a file, to recognise a file of another set
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class RowRange:
    """Describes rows `start` to `stop` of a file, in its bytes `start_byte` to `stop_byte`.

    `stop` is None for a whole tar.
    """

    path: str
    start: int
    stop: int | None
    start_byte: int
    stop_byte: int
    is_whole: bool
    item_offset: int = 0  # of JSON: the byte at which its first item begins; 0 is the beginning of the file
    choice: RowChoice | None = None  # of its rows; None: all

    @property
    def label(self) -> str:
        """Returns the input's name in a manifest: the file's path, with the row range if that is not the whole file."""
        path = mask_secrets(self.path)
        return path if self.is_whole else f"{path}#rows={self.start}-{self.stop}"

    @property
    def byte_size(self) -> int:
        """Returns its size in bytes."""
        return self.stop_byte - self.start_byte

    def count_rows(self) -> int:
        """Returns its number of rows; a tar is read for it."""
        if self.stop is not None:
            return self.stop - self.start
        return InputShard("", self.path).count_samples()

    def is_damaged(self) -> bool:
        """Returns whether it is a tar in which something cannot be read. Other files end the run where they cannot."""
        return self.stop is None and InputShard("", self.path).is_damaged()

    def mark_rows(self) -> Iterator[bool]:
        """Yields for each row whether it is chosen, without end."""
        return itertools.repeat(True) if self.choice is None else self.choice.mark_rows()


@dataclass(frozen=True, slots=True)
class Item:
    """Holds the content for a reader and its key in the file: a tar's own key, or the number of the row."""

    key: str
    content: Any  # a `Rejected` when no reader can take it


def list_source_files(patterns: Sequence[str], source: str, reader: SourceReader) -> list[str]:
    """Returns the files that the globs match, sorted by path. Raises `UsageError` for none, or for another ending."""
    paths = sorted({path for pattern in patterns for path in list_matching(pattern)})
    for path in paths:
        if not path.endswith(reader.endings):
            check_uncompressed(path)
            raise UsageError(
                f"{path} is not a {' or '.join(reader.endings)} file: the glob should match only files of {source}"
            )
    return paths


def cut_files(
    reader: SourceReader, max_rows: int, files: Sequence[str], options: ChosenRows, runner: Runner, progress: Progress
) -> list[tuple[int, RowRange]]:
    """Returns the units that have chosen rows, each with its number among all units, in the order of files and rows.

    A limit cuts no file after that of its last row. Raises `UsageError` for a file of another set.
    """
    cut = functools.partial(cut_file, reader, max_rows)
    found: list[RowRange] = []
    rows = 0
    for part in map(cut, files) if options.limit is not None else runner.map(cut, files):
        found += part
        progress.items += 1
        progress.advance(1)
        if options.limit is not None and (rows := rows + sum(map(RowRange.count_rows, part))) >= options.limit:
            break
    order = {path: number for number, path in enumerate(files)}
    found.sort(key=lambda row_range: (order[row_range.path], row_range.start))
    chosen = choose_rows(
        options,
        list(enumerate(found)),
        lambda unit: f"{unit[0]:08d}",
        lambda unit: unit[1].count_rows(),
        lambda unit: unit[1].is_damaged(),
    )
    return [(number, replace(row_range, choice=choice)) for (number, row_range), choice in chosen]


def cut_file(reader: SourceReader, max_rows: int, path: str) -> list[RowRange]:
    """Returns the units of one file, of at most `max_rows` rows each. Raises `UsageError` for a file of another set."""
    folder, name = split_path(path)
    size = folder.get_size(name)
    if path.endswith(".tar"):
        return [RowRange(path, 0, None, 0, size, is_whole=True)]
    with folder.open(name) as file:
        if path.endswith(".parquet"):
            bounds = list(parquet_rows.cut_row_groups(file, reader, max_rows, path))
            return _make_row_ranges(path, bounds, size)
        check_uncompressed(path, file.read(SIGNATURE_BYTES))
        file.seek(0)
        if path.endswith(".json"):
            return _cut_json(file, reader, max_rows, path, size)
        _check_lines(file, reader, path)
        bounds = list(_cut_lines(file, reader, max_rows, size))
    return _make_row_ranges(path, bounds, size)


def _make_row_ranges(path: str, bounds: list[tuple[int, int, int, int]], size: int) -> list[RowRange]:
    is_whole = len(bounds) == 1
    return [RowRange(path, *((*bound[:2], 0, size) if is_whole else bound), is_whole) for bound in bounds]


def _cut_json(file: BinaryIO, reader: SourceReader, rows: int, path: str, size: int) -> list[RowRange]:
    """Cuts a JSON file by its items. Where the reader knows their offsets, each unit starts to read at its first."""
    begins: list[int] = []
    count = 0
    for count, place in enumerate(_find_json_offsets(file, reader, path), start=1):
        if count % rows == 1 % rows:
            begins.append(place if begins else 0)
    stops = [min(start + rows, count) for start in range(0, count, rows)]
    bounds = zip(range(0, count, rows), stops, begins, strict=True)
    return [RowRange(path, start, stop, 0, size, count <= rows, begin) for start, stop, begin in bounds]


@dataclass(frozen=True, slots=True)
class RowRangeSummary:
    """Holds what a manifest records of a row range that was read to its end."""

    input: InputFile  # with the hash of the bytes that were read
    rows: int
    damage: list[str]
    hidden_files: int = 0  # hidden files in a tar, which the reader skipped


def read_row_range(reader: SourceReader, row_range: RowRange) -> Generator[Item, None, RowRangeSummary]:
    """Yields the items of a row range and returns its summary."""
    folder, name = split_path(row_range.path)
    with folder.open(name) as file:
        if row_range.stop is not None:
            yield from _read_items(file, folder.is_local, reader, row_range, row_range.stop)
            digest = _hash_bytes(file, row_range)
            source = InputFile(path=row_range.label, size=row_range.byte_size, sha256=digest)
            return RowRangeSummary(source, row_range.stop - row_range.start, [])
        tar = TarReader(file)
        keys: list[str] = []
        for sample in tar:
            keys.append(sample.key)
            yield Item(sample.key, sample)
    damage = [f"{name}: byte {found.offset}: {found.description}" for found in tar.damage]
    damage += [f"{name}: {what}" for what in find_missing_downloads(folder, name.removesuffix(".tar"), keys)]
    source = InputFile(path=row_range.path, size=tar.size, sha256=tar.sha256)
    return RowRangeSummary(source, len(keys), damage, tar.hidden_files)


def iterate_items(reader: SourceReader, row_range: RowRange) -> Iterator[Item]:
    """Yields the items of a row range without a summary: hashes nothing and reads no side file."""
    folder, name = split_path(row_range.path)
    with folder.open(name) as file:
        if row_range.stop is not None:
            yield from _read_items(file, folder.is_local, reader, row_range, row_range.stop)
        else:
            yield from (Item(sample.key, sample) for sample in TarReader(file, hashing=False))


def _read_items(file: BinaryIO, is_local: bool, reader: SourceReader, row_range: RowRange, stop: int) -> Iterator[Item]:
    if row_range.path.endswith(".parquet"):
        items: Iterator[Any] = parquet_rows.read_rows(file, reader, row_range.path, row_range.start, stop, is_local)
    elif row_range.path.endswith(".json"):
        items = _read_json_items(file, reader, row_range, stop)
    else:
        items = (_decode_line(line) for _, line in _read_lines(file, reader, row_range.start_byte, row_range.stop_byte))
    row = row_range.start
    for row, item in enumerate(items, row_range.start + 1):
        if row > stop:
            raise ShardloomError(f"{row_range.path} has more rows than when the run began: rerun the command")
        yield Item(str(row - 1), item)
    if row < stop:
        raise ShardloomError(f"{row_range.path} has become shorter since the run began: rerun the command")


def _find_json_offsets(file: BinaryIO, reader: SourceReader, path: str) -> Iterator[int]:
    """Yields the byte at which each item of a JSON file begins, or 0 where the reader does not know it."""
    assert reader.items is not None  # every reader of .json has it
    try:
        yield from (0 for _ in reader.items(file)) if reader.offsets is None else reader.offsets(file)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def _read_json_items(file: BinaryIO, reader: SourceReader, row_range: RowRange, stop: int) -> Iterator[Any]:
    assert reader.items is not None
    try:
        if reader.offsets is None:
            items: Iterator[Any] = itertools.islice(reader.items(file), row_range.start, stop)
        else:
            items = reader.items(file, row_range.item_offset, row_range.start)
            items = itertools.islice(items, stop - row_range.start)
        yield from items if reader.joined is None else _join_items(items, reader.joined, row_range.path)
    except UsageError as error:
        raise UsageError(f"{row_range.path}: {error}") from None


def _join_items(items: Iterator[Any], joined: JoinedFile, path: str) -> Iterator[Any]:
    folder, name = split_path(path)
    other = joined.find_name(name)
    with folder.open(other) as file:
        try:
            yield from joined.join(items, file)
        except UsageError as error:
            raise UsageError(f"{other}: {error}") from None


def _check_lines(file: BinaryIO, reader: SourceReader, path: str) -> None:
    if reader.check is None:
        return
    lines = (line for _, line in _read_lines(file, reader, 0, 1 << 62) if line is not None)
    try:
        reader.check([line.decode("utf-8", "replace") for line in itertools.islice(lines, CHECKED_LINES)])
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def _cut_lines(file: BinaryIO, reader: SourceReader, rows: int, size: int) -> Iterator[tuple[int, int, int, int]]:
    """Yields ranges of `rows` lines. Lines that are not rows belong to the range before, or else to the first one."""
    count = begin = start = 0
    for offset, _ in _read_lines(file, reader, 0, size):
        if count and count % rows == 0:
            yield start, count, begin, offset
            start, begin = count, offset
        count += 1
    if count:
        yield start, count, begin, size


def _read_lines(file: BinaryIO, reader: SourceReader, first: int, last: int) -> Iterator[tuple[int, bytes | None]]:
    """Yields the offset and bytes of each line, except blank ones and the header; None for a line over `MAX_JSON`."""
    file.seek(first)
    offset = first
    while offset < last and (line := file.readline(min(last - offset, MAX_JSON))):
        begin, is_long = offset, False
        offset += len(line)
        while not line.endswith(b"\n") and offset < last and (more := file.readline(min(last - offset, MAX_JSON))):
            is_long = True
            offset += len(more)
            line = more[-1:]
        if is_long:
            yield begin, None
            continue
        line = line.removeprefix(_BOM) if begin == 0 else line
        if line.strip() and not (begin == 0 and reader.header and line.strip() == reader.header.encode()):
            yield begin, line


def _decode_line(line: bytes | None) -> str | Rejected:
    """Returns the line as text, with a lone surrogate for each byte that is not UTF-8: the reader judges its field."""
    if line is None:
        return Rejected(Reason.MALFORMED_ROW, f"a line of over {MAX_JSON} bytes")
    return line.decode("utf-8", "surrogateescape")


def _hash_bytes(file: BinaryIO, row_range: RowRange) -> str:
    """Returns the SHA-256 of the row range's bytes, which were just read and so are in the page cache."""
    digest = hashlib.sha256()
    file.seek(row_range.start_byte)
    left = row_range.byte_size
    while left and (data := file.read(min(left, 8 << 20))):
        digest.update(data)
        left -= len(data)
    return digest.hexdigest()
