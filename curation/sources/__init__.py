"""Readers of published data sets: one small file a set, which says how the set lies on disk and where it misleads.

A reader is a pure function of one item (a Parquet row as a dict, a tar sample, a line, a JSON value) and gives a draft
of what it holds, or raises `Rejected`: the row is left out, its neighbours are not touched. Readers know no files.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from curation.sources import (
    blip3,
    cc3m,
    cc12m,
    datacomp,
    kale,
    llava,
    mint_arxiv,
    mint_html,
    mint_pdf,
    obelics,
    sbu,
    text,
    visual_genome,
)
from curation.sources.options import ReadOptions
from schemas.records.document import CaptionDraft, Draft

__all__ = ["SOURCES", "ReadOptions", "SourceReader"]


@dataclass(frozen=True, slots=True)
class SourceReader:
    """How a set is read. What an item is depends on the file's ending.

    `.parquet`: a row, as `to_pylist` gives it; `.tar`: a `TarSample`; `.tsv` and `.jsonl`: a line of text, without a
    byte order mark; `.json`: whatever `items` finds.
    """

    read: Callable[[Any, ReadOptions], Draft | CaptionDraft]
    """The draft of one item. Raises `Rejected` and nothing else."""
    endings: tuple[str, ...]
    """Of its files."""
    is_captions: bool
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


def _plain(read: Callable[[Any], Draft | CaptionDraft]) -> Callable[[Any, ReadOptions], Draft | CaptionDraft]:
    """A reader that has no options, called as the others are."""
    return lambda item, _: read(item)


SOURCES: dict[str, SourceReader] = {
    "mint-html": SourceReader(_plain(mint_html.read), (".parquet",), False, mint_html.COLUMNS, mint_html.OPTIONAL),
    "mint-pdf": SourceReader(mint_pdf.read, (".tar",), False),
    "mint-arxiv": SourceReader(mint_arxiv.read, (".tar",), False),
    "obelics": SourceReader(_plain(obelics.read), (".parquet",), False, obelics.COLUMNS, obelics.OPTIONAL),
    "kale": SourceReader(_plain(kale.read), (".parquet",), True, kale.COLUMNS, None),
    "cc3m": SourceReader(_plain(cc3m.read), (".tsv",), True, header=cc3m.HEADER, check=cc3m.check),
    "cc12m": SourceReader(_plain(cc12m.read), (".tsv",), True, header=cc12m.HEADER, check=cc12m.check),
    "sbu": SourceReader(_plain(sbu.read), (".json",), True, items=sbu.items),
    "visual-genome": SourceReader(_plain(visual_genome.read), (".json",), True, items=visual_genome.items),
    "datacomp": SourceReader(_plain(datacomp.read), (".tar",), True),
    "blip3-ocr": SourceReader(blip3.read_ocr, (".parquet",), True, blip3.COLUMNS, blip3.OPTIONAL),
    "blip3-grounding": SourceReader(blip3.read_grounding, (".parquet",), True, blip3.COLUMNS, blip3.OPTIONAL_GROUNDING),
    "llava": SourceReader(_plain(llava.read), (".json", ".jsonl"), False, items=llava.items),
    "text": SourceReader(_plain(text.read), (".jsonl", ".parquet"), False, text.COLUMNS, text.OPTIONAL),
}
"""By the names that `ingest` takes."""
