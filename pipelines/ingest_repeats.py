"""Images that came before, anywhere in the input: found over all units at once, before any of them is written.

Which one is kept is a function of the input alone: the first in the order of the files, of their rows, and of the
images in them, even where that document is left out as a whole. Byte for byte, that is a sort. "Alike" are images whose
perceptual hashes differ in at most `DISTANCE` bits from that of one that is kept: it is compared with those that share
one of four quarters of the hash with it, and one quarter at least is shared by any two that differ in three bits.
"""

import functools
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol, TypeVar

import polars as pl

from curation.decode import DecodeLimits, decode
from curation.document_filters import hamming, perceptual_hash
from pipelines.progress import Progress
from pipelines.recipe import IngestRecipe
from pipelines.units import map_units
from schemas.quarantine import Rejected

Repeats = Mapping[int, frozenset[int]]
"""Row in a unit -> numbers of its images that came before."""

DISTANCE = 3  # bits of 64; photographs made smaller and coded anew differ in 0 or 2, any two of them in 16 and more


class Numbered(Protocol):
    """A unit of work."""

    @property
    def number(self) -> int:
        """Its place among all."""


U = TypeVar("U", bound=Numbered)
Images = Callable[[U], Iterator[tuple[int, int, bytes]]]
"""Row, number in the row, and file, of each image of a unit."""


def repeated_images(images: Images[U], units: list[U], recipe: IngestRecipe, progress: Progress) -> dict[int, Repeats]:
    """The images to leave out, by the number of their unit. Costs a pass over all units, and 32 bytes an image here.

    By perceptual hash it takes some 0.1 ms an image besides at a million of them, and grows with their number squared.
    """
    limits = recipe.filters.limits if recipe.repeated_images == "alike" else None
    tables = []
    found = 0
    for table in map_units(functools.partial(image_hashes, images, limits), units, recipe.run):
        tables.append(table)
        found += table.height
        progress.advance(1)
        progress.show(found)
    hashes = pl.concat(tables).sort("unit", "row", "number")
    if limits is None:
        repeated = ~hashes.select(pl.struct("high", "low").is_first_distinct()).to_series()
    else:
        repeated = pl.Series(alike(hashes["high"].to_list()), dtype=pl.Boolean)
    result: dict[int, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    for unit, row, number in hashes.filter(repeated).select("unit", "row", "number").iter_rows():
        result[unit][row].add(number)
    return {unit: {row: frozenset(numbers) for row, numbers in rows.items()} for unit, rows in result.items()}


def image_hashes(images: Images[U], limits: DecodeLimits | None, unit: U) -> pl.DataFrame:
    """unit, row, number and hash of each image: of its pixels within limits, or of its bytes when there are none."""
    rows: list[tuple[int, int, int, int]] = []
    for row, number, data in images(unit):
        try:
            rows.append((row, number, *_hash(data, limits)))
        except Rejected:
            continue  # it is lost for its own reason
    frame = pl.DataFrame(
        rows, {"row": pl.UInt32, "number": pl.UInt32, "high": pl.UInt64, "low": pl.UInt64}, orient="row"
    )
    return frame.with_columns(unit=pl.lit(unit.number, pl.UInt64))


def alike(hashes: list[int]) -> list[bool]:
    """Whether each hash is within `DISTANCE` bits of an earlier one that is kept itself."""
    kept: list[dict[int, list[int]]] = [defaultdict(list) for _ in range(4)]  # by each quarter
    repeated = []
    for value in hashes:
        near = [of_quarter[value >> 16 * number & 0xFFFF] for number, of_quarter in enumerate(kept)]
        repeated.append(any(hamming(value, other) <= DISTANCE for others in near for other in others))
        if not repeated[-1]:
            for others in near:
                others.append(value)
    return repeated


def _hash(data: bytes, limits: DecodeLimits | None) -> tuple[int, int]:
    if limits is not None:
        return perceptual_hash(decode(data, limits)), 0
    digest = hashlib.sha256(data).digest()
    return int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:16], "big")
