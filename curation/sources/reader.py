"""Defines the object by which a source declares itself in its own file."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from curation.sources.formats.joined_file import JoinedFile
from curation.sources.options import ReadOptions
from schemas.records.document import ParsedCaptionedImage, ParsedDocument


@dataclass(frozen=True, slots=True)
class SourceReader:
    """Declares a published set and how to read it. The type of an item depends on the file's ending.

    `.parquet`: a row as a dict, as Arrow's `to_pylist` returns it, but bytes for a string that is not UTF-8; `.tar`: a
    `TarSample`; `.tsv` and `.jsonl`: a line of text without a byte order mark, with a lone surrogate for each byte that
    is not UTF-8; `.json`: each value that `items` yields.
    """

    name: str
    """The name that the user passes to `ingest`."""
    read: Callable[[Any, ReadOptions], ParsedDocument | ParsedCaptionedImage]
    """Returns the parsed row of one item. Raises `Rejected` and nothing else."""
    endings: tuple[str, ...]
    """The endings of its files."""
    is_captions: bool = False
    """Whether `read` returns a `ParsedCaptionedImage`, not a `ParsedDocument`."""
    columns: tuple[str, ...] = ()
    """Parquet: the required columns."""
    optional: tuple[str, ...] | None = ()
    """Parquet: the columns that are also read if the file has them; None: all columns."""
    header: str | None = None
    """TSV: a first line to skip."""
    check: Callable[[Sequence[str]], None] | None = None
    """TSV: checks a file's first lines (100 suffice). Raises `UsageError`; the caller adds the file's name."""
    items: Callable[..., Iterator[Any]] | None = None
    """JSON: yields the items of a file. With `offsets` it also takes the byte at which an item begins and the item's
    number, and starts there. Raises `UsageError`; the caller adds the file's name."""
    offsets: Callable[[BinaryIO], Iterator[int]] | None = None
    """JSON: yields the byte at which each item begins, of files in which reading can start at any item. Without it a
    file is read from its beginning for each unit of work. Raises as `items` does."""
    joined: JoinedFile | None = None
    """JSON: a second file in the same folder, with whose rows the items are joined before they are read."""


def ignore_options(
    read: Callable[[Any], ParsedDocument | ParsedCaptionedImage],
) -> Callable[[Any, ReadOptions], ParsedDocument | ParsedCaptionedImage]:
    """Wraps a reader that takes no options, so that callers can pass them."""
    return lambda item, _: read(item)
