"""How a source is declared: the one object that its file has to have."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from curation.sources.options import ReadOptions
from schemas.records.document import CaptionDraft, Draft


@dataclass(frozen=True, slots=True)
class SourceReader:
    """A published set, and how it is read. What an item is depends on the file's ending.

    `.parquet`: a row, as `to_pylist` gives it; `.tar`: a `TarSample`; `.tsv` and `.jsonl`: a line of text, without a
    byte order mark; `.json`: whatever `items` finds.
    """

    name: str
    """By which `ingest` takes it."""
    read: Callable[[Any, ReadOptions], Draft | CaptionDraft]
    """The draft of one item. Raises `Rejected` and nothing else."""
    endings: tuple[str, ...]
    """Of its files."""
    is_captions: bool = False
    """Whether it gives `CaptionDraft`s."""
    columns: tuple[str, ...] = ()
    """Parquet: what must be there."""
    optional: tuple[str, ...] | None = ()
    """Parquet: what is read besides, where it is there; None is everything."""
    header: str | None = None
    """TSV: a first line that is no item."""
    check: Callable[[Sequence[str]], None] | None = None
    """TSV: raises a UsageError, in which the file isn't named, of a file's first lines (a hundred will do)."""
    items: Callable[[BinaryIO], Iterator[Any]] | None = None
    """JSON: the items of a file; raises a UsageError, in which the file isn't named."""
    is_list: bool = False
    """JSON: whether the items are the entries of the file's list, so that reading may begin at any of them."""


def without_options(read: Callable[[Any], Draft | CaptionDraft]) -> Callable[[Any, ReadOptions], Draft | CaptionDraft]:
    """Makes of a function that has no options one that is called as the others are."""
    return lambda item, _: read(item)
