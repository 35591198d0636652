"""Images that came before, anywhere in the input: found over all units at once, before any of them is written.

Which one is kept is a function of the input alone: the first in the order of the files, of their rows, and of the
images in them, even where that document is left out as a whole. Byte for byte, that is a sort; "alike" are images whose
perceptual hash is near to that of one that is kept (`pipelines.ingest.near_hashes`). Images of one row are no repeats
of one another: what becomes of those that a document shows twice is for its own filter to say.
"""

import functools
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol, TypeVar

import polars as pl

from curation.documents.filters import perceptual_hash
from curation.images.decode import DecodeLimits, decode
from pipelines.cluster.runner import Runner
from pipelines.ingest.near_hashes import repeated
from pipelines.ingest.row_watch import RETRIES
from pipelines.recipes.ingest import IngestRecipe
from pipelines.terminal.progress import Progress
from schemas.records.quarantine import Rejected

Repeats = Mapping[int, frozenset[int]]
"""Row in a unit -> numbers of its images that came before, in another row."""


class Numbered(Protocol):
    """A unit of work."""

    @property
    def number(self) -> int:
        """Its place among all."""


U = TypeVar("U", bound=Numbered)
Images = Callable[[U], Iterator[tuple[int, int, bytes]]]
"""Row, number in the row, and file, of each image of a unit."""


def repeated_images(
    images: Images[U], units: list[U], recipe: IngestRecipe, runner: Runner, progress: Progress
) -> dict[int, Repeats]:
    """The images to leave out, by the number of their unit. Costs a pass over all units.

    And here, at ten million images, 200 bytes and 2 microseconds each; 4 microseconds by perceptual hash.
    """
    limits = recipe.read.limits if recipe.repeated_images == "alike" else None
    tables = []
    found = 0
    for table in runner.map(functools.partial(image_hashes, images, limits), units, RETRIES):
        tables.append(table)
        found += table.height
        progress.advance(1)
        progress.show(found)
    result: dict[int, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    for unit, row, number in came_before(pl.concat(tables), limits is not None).iter_rows():
        result[unit][row].add(number)
    return {unit: {row: frozenset(numbers) for row, numbers in rows.items()} for unit, rows in result.items()}


def came_before(hashes: pl.DataFrame, alike: bool) -> pl.DataFrame:
    """unit, row and number of the images whose first stands in another row, of tables as `image_hashes` makes them."""
    hashes = hashes.sort("unit", "row", "number").with_columns(place=pl.struct("unit", "row").rle_id())
    if alike:
        found = pl.Series(repeated(hashes["high"].to_numpy(), hashes["place"].to_numpy()))
    else:
        found = hashes.select(pl.col("place") > pl.col("place").min().over("high", "low")).to_series()
    return hashes.filter(found).select("unit", "row", "number")


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


def _hash(data: bytes, limits: DecodeLimits | None) -> tuple[int, int]:
    if limits is not None:
        return perceptual_hash(decode(data, limits)), 0
    digest = hashlib.sha256(data).digest()
    return int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:16], "big")
