"""Chooses the rows of an input that a command works on: the first N, or a uniform sample of N by a seed.

The choice depends on the input's row counts, the names of its files and the seed alone, so that a run that was killed
chooses the same rows again. Each row of a file has a draw, a random number that depends on the seed, the file and the
row's number; a sample is the rows with the N smallest draws.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pipelines.recipes.rows import ChosenRows
from schemas.errors import UsageError

DRAWS = 4096  # at once: 32 KB
_BY_PLACE = ("limit", "sample")  # the options that choose rows by their places in the input
COUNTERS = 8  # threads that count the rows of files, which is mostly waiting

U = TypeVar("U")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RowChoice:
    """Chooses rows of one file by their numbers in it."""

    option: str  # of the recipe
    chosen: int  # rows chosen
    rows: int  # rows of the file
    file: str = ""  # the name by which it has its draws
    seed: int = 0
    largest: int = 0  # draw of a row that is in the sample

    def mark_rows(self) -> Iterator[bool]:
        """Yields for each row whether it is chosen, without end."""
        if self.option == "limit":
            return itertools.chain(itertools.repeat(True, self.chosen), itertools.repeat(False))
        return (draw <= self.largest for draw in _iterate_draws(self.seed, self.file))

    def select(self, items: Iterable[T]) -> Iterator[T]:
        """Yields the chosen ones of a file's rows."""
        return itertools.compress(items, self.mark_rows())


def describe_other_choice(options: ChosenRows, choice: RowChoice | None, committed: int) -> str:
    """Returns what has changed where other rows of a unit are chosen now than when its outputs were committed.

    `committed` is the number of rows chosen then. The same number of a unit with the same rows is the same choice: of
    two samples of a file by one seed, the smaller one is part of the larger one. Returns an empty text where nothing
    has changed, and for a condition, whose choice does not depend on other units.
    """
    if options.row_option not in _BY_PLACE:
        return ""
    chosen = 0 if choice is None else choice.chosen
    return "" if chosen == committed else f"the input, of which {options.row_option} chooses rows, has"


def choose_rows(
    options: ChosenRows,
    units: Sequence[U],
    name: Callable[[U], str],
    count: Callable[[U], int],
    is_damaged: Callable[[U], bool] | None = None,
) -> list[tuple[U, RowChoice | None]]:
    """Returns the units that have chosen rows, each with its choice; None where the options choose all rows.

    `name` gives a unit the name by which it has its draws, and `count` its number of rows. For a limit no unit after
    the last chosen row is counted. A unit without rows is kept if it `is_damaged`, so that whoever reads it says so.
    Raises `UsageError` where there is nothing to choose from.
    """
    if options.row_option not in _BY_PLACE:
        return [(unit, None) for unit in units]
    if options.limit is not None:
        found = _choose_first(options.limit, units, count)
    else:
        found = _draw_rows(options, units, name, count)
    chosen: list[tuple[U, RowChoice | None]] = [
        (unit, choice)
        for unit, choice in found
        if choice.chosen or (not choice.rows and is_damaged is not None and is_damaged(unit))
    ]
    if not chosen:
        raise UsageError(f"{options.row_option}: the input has no row")
    return chosen


def _choose_first(limit: int, units: Sequence[U], count: Callable[[U], int]) -> Iterator[tuple[U, RowChoice]]:
    left = limit
    for unit in units:
        if not left:
            return
        rows = count(unit)
        taken = min(rows, left)
        left -= taken
        yield unit, RowChoice("limit", taken, rows)


def _draw_rows(
    options: ChosenRows, units: Sequence[U], name: Callable[[U], str], count: Callable[[U], int]
) -> Iterator[tuple[U, RowChoice]]:
    assert options.sample is not None
    with ThreadPoolExecutor(COUNTERS) as pool:
        counts = list(pool.map(count, units))
    names = [name(unit) for unit in units]
    largest = _find_largest_draw(options.sample, options.seed, names, counts)
    for unit, file, rows in zip(units, names, counts, strict=True):
        taken = int((_draw(options.seed, file, rows) <= largest).sum())
        yield unit, RowChoice("sample", taken, rows, file, options.seed, int(largest))


def _find_largest_draw(sample: int, seed: int, names: Sequence[str], counts: Sequence[int]) -> np.uint64:
    """Returns the largest draw of a sample of this many rows. Holds no more draws than the sample and a file have."""
    held: NDArray[np.uint64] = np.zeros(0, np.uint64)
    for file, rows in zip(names, counts, strict=True):
        held = np.concatenate([held, _draw(seed, file, rows)])
        if len(held) > sample:
            held = np.partition(held, sample - 1)[:sample]
    return held.max() if len(held) else np.uint64(0)


def _make_generator(seed: int, file: str) -> np.random.PCG64:
    """Returns the source of a file's draws. NumPy guarantees its numbers for all versions."""
    digest = hashlib.blake2b(f"{seed}/{file}".encode(), digest_size=16).digest()
    return np.random.PCG64(int.from_bytes(digest, "big"))


def _draw(seed: int, file: str, rows: int) -> NDArray[np.uint64]:
    return np.asarray(_make_generator(seed, file).random_raw(rows), np.uint64)


def _iterate_draws(seed: int, file: str) -> Iterator[int]:
    generator = _make_generator(seed, file)
    while True:
        yield from np.asarray(generator.random_raw(DRAWS)).tolist()
