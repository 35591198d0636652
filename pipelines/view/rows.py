"""Chooses the rows that a page shows: a sample spread over the files of a set, one key, or those that meet a condition.

A sample reads few files, as a page of a set with a million rows should take seconds; a condition reads on until it has
enough rows. Where time is short, the sample is of the first rows of each file, whose images a tar has first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from pipelines.inputs.row_filter import RowFilter
from pipelines.inputs.row_keys import find_key, order_files
from pipelines.view.options import ViewOptions
from schemas.errors import UsageError

MAX_FILES = 4  # that a sample is from: all images of a page then come from so many tars


@dataclass(frozen=True, slots=True)
class ChosenRows:
    """Holds the rows of one file that are shown."""

    name: str
    rows: pa.Table


@dataclass(slots=True)
class Choice:
    """Holds the rows that are shown, and all rows of the first files that were read, for charts."""

    files: int
    parts: list[ChosenRows] = field(default_factory=list)
    seen: list[pa.Table] = field(default_factory=list)  # of at most `MAX_FILES` files, as all might fill the memory
    matching: int = 0  # rows of all files that were read, as far as they meet the condition

    @property
    def shown(self) -> int:
        """Returns the number of rows that are shown."""
        return sum(part.rows.num_rows for part in self.parts)

    def merge_seen(self) -> pa.Table:
        """Returns the rows that were read as one table. Its schema has the columns of all files."""
        return pa.concat_tables(self.seen, promote_options="default")

    def describe(self) -> str:
        """Returns what is shown of what was read, in words."""
        rows = sum(table.num_rows for table in self.seen)
        seen = f"the {rows:,} rows in {len(self.seen):,} of {self.files:,} files"
        return f"{self.shown:,} of {self.matching:,} rows; charts are of {seen}"


def choose_rows(
    names: Sequence[str],
    load: Callable[[str], pa.Table],
    options: ViewOptions,
    place: str,
    max_files: int = MAX_FILES,
    is_filtered: bool = False,
) -> Choice:
    """Returns the rows to show of the files with these names, which `load` reads. Raises `UsageError` if none is left.

    `place` names the set in errors. A sample is from at most `max_files` files; if `is_filtered`, `load` leaves rows
    out, and all files are read until there are enough. Of several rows with a key, the first one counts.
    """
    condition = None if options.where is None else RowFilter.parse(options.where)
    choice = Choice(len(names))
    order = _spread_files(names, max_files) if options.key is None else order_files(names, options.key)
    planned = len(order) if options.key is not None else min(max_files, len(order))
    for visited, name in enumerate(order):
        table = load(name)
        if not choice.seen and condition is not None:
            condition.check_columns(table.schema)
        if len(choice.seen) < MAX_FILES:
            choice.seen.append(table)
        found = table if condition is None else condition.apply(table)
        found = found if options.key is None else find_key(found, options.key, name)
        choice.matching += found.num_rows
        wanted = -(-(options.sample - choice.shown) // max(1, planned - visited))
        if options.key is not None:
            wanted = 1
        if found.num_rows:
            rows = select_spread(found, wanted) if options.deadline is None else found.slice(0, wanted)
            choice.parts.append(ChosenRows(name, rows))
        if choice.shown >= options.sample or (options.key is not None and choice.shown):
            break
        if options.is_late or (condition is None and not is_filtered and visited + 1 >= planned):
            break
    choice.parts.sort(key=lambda part: part.name)
    if not choice.parts and (options.key is not None or condition is not None):
        what = f"the key or uid {options.key!r}" if options.key is not None else f"--where {options.where}"
        raise UsageError(f"{place} has no row with {what}")
    return choice


def _spread_files(names: Sequence[str], most: int) -> list[str]:
    """Returns the names of all files: first at most `most` that are spread evenly, then the others."""
    numbers = list(dict.fromkeys(len(names) * part // most for part in range(most)))[: len(names)]
    first = [names[number] for number in numbers]
    taken = set(first)
    return first + [name for name in names if name not in taken]


def select_spread(table: pa.Table, count: int) -> pa.Table:
    """Returns so many rows of a table, evenly spread over it, in their order."""
    if table.num_rows <= count:
        return table
    return table.take(pa.array([table.num_rows * number // count for number in range(count)]))
