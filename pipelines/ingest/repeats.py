"""Finds images that repeat an earlier one anywhere in the input, over all units before any of them is written.

Which copy is kept is a function of the input alone: the first in the order of the files, of their rows and of the
images in a row, even if that whole document is then left out. "exact" compares bytes, by sorting hashes. "alike"
compares perceptual hashes with those of the images kept, by pigeonhole LSH (`pipelines.ingest.near_hashes`). Images of
the same row are not repeats of one another: the document filter handles an image that one document shows twice.
"""

import functools
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol, TypeVar

import polars as pl

from curation.documents.filters import compute_perceptual_hash
from curation.images.decode import DecodeLimits, decode
from pipelines.cluster.runner import Runner
from pipelines.ingest.near_hashes import find_repeats
from pipelines.ingest.row_watch import RETRIES
from pipelines.recipes.ingest import IngestRecipe
from pipelines.terminal.progress import Progress
from schemas.records.quarantine import Rejected

Repeats = Mapping[int, frozenset[int]]
"""Maps a row of a unit to the numbers of its images that repeat one of an earlier row."""


class Numbered(Protocol):
    """Represents a unit of work that has a number."""

    @property
    def number(self) -> int:
        """Returns its position among all units."""


U = TypeVar("U", bound=Numbered)
Images = Callable[[U], Iterator[tuple[int, int, bytes]]]
"""Yields row, number in the row and file of each image of a unit."""


def find_repeated_images(
    images: Images[U], units: list[U], recipe: IngestRecipe, runner: Runner, progress: Progress
) -> dict[int, Repeats]:
    """Returns the images to leave out, by the number of their unit. Costs a pass over all units.

    In this process it takes, at ten million images, 200 bytes and 2 microseconds each; 4 by perceptual hash.
    """
    limits = recipe.read.limits if recipe.repeated_images == "alike" else None
    tables = []
    found = 0
    for table in runner.map(functools.partial(hash_unit_images, images, limits), units, RETRIES):
        tables.append(table)
        found += table.height
        progress.advance(1)
        progress.show(found)
    result: dict[int, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    for unit, row, number in select_repeats(pl.concat(tables), limits is not None).iter_rows():
        result[unit][row].add(number)
    return {unit: {row: frozenset(numbers) for row, numbers in rows.items()} for unit, rows in result.items()}


def select_repeats(hashes: pl.DataFrame, alike: bool) -> pl.DataFrame:
    """Selects unit, row and number of the images that repeat one of an earlier row; `hashes` is from
    `hash_unit_images`.
    """
    hashes = hashes.sort("unit", "row", "number").with_columns(place=pl.struct("unit", "row").rle_id())
    if alike:
        found = pl.Series(find_repeats(hashes["high"].to_numpy(), hashes["place"].to_numpy()))
    else:
        found = hashes.select(pl.col("place") > pl.col("place").min().over("high", "low")).to_series()
    return hashes.filter(found).select("unit", "row", "number")


def hash_unit_images(images: Images[U], limits: DecodeLimits | None, unit: U) -> pl.DataFrame:
    """Returns unit, row, number and hash of each image: the perceptual hash with limits, else half of the SHA-256."""
    rows: list[tuple[int, int, int, int]] = []
    for row, number, data in images(unit):
        try:
            rows.append((row, number, *_hash(data, limits)))
        except Rejected:
            continue  # the ingest itself records why it is lost
    frame = pl.DataFrame(
        rows, {"row": pl.UInt32, "number": pl.UInt32, "high": pl.UInt64, "low": pl.UInt64}, orient="row"
    )
    return frame.with_columns(unit=pl.lit(unit.number, pl.UInt64))


def _hash(data: bytes, limits: DecodeLimits | None) -> tuple[int, int]:
    if limits is not None:
        return compute_perceptual_hash(decode(data, limits)), 0
    digest = hashlib.sha256(data).digest()
    return int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:16], "big")
