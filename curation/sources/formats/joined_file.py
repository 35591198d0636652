"""Joins the items of a file with the rows of a second file beside it, as questions with their annotations."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from schemas.records.quarantine import Reason, Rejected


@dataclass(frozen=True, slots=True)
class JoinedFile:
    """Declares the second file of a set, whose rows have the same `key` as the items of the first."""

    find_name: Callable[[str], str]
    """Returns its name, given that of the first file. Raises `UsageError` for a name of no file of the set."""
    read_rows: Callable[[BinaryIO], Iterator[Any]]
    """Yields its rows. Raises `UsageError`; the caller adds the file's name."""
    key: str
    """The field that both have."""

    def join(self, items: Iterable[Any], file: BinaryIO) -> Iterator[Any]:
        """Yields each item with the fields of the row of its key, or a `Rejected` in place of one that has no row.

        The items of a unit are in memory; the second file is read until all their rows are found.
        """
        held = list(items)
        wanted = {key for item in held if (key := self._find_key(item)) is not None}
        found: dict[int | str, Mapping[str, Any]] = {}
        for row in self.read_rows(file) if wanted else ():
            if (key := self._find_key(row)) in wanted and key is not None:
                found[key] = row
                wanted.remove(key)
            if not wanted:
                break
        for item in held:
            key = self._find_key(item)
            if key is None:
                yield Rejected(Reason.MALFORMED_ROW, f"there is no {self.key}")
            elif key not in found:
                yield Rejected(Reason.MALFORMED_ROW, f"{self.key} {str(key)[:60]} has no annotation")
            else:
                yield {**found[key], **item}

    def _find_key(self, item: Any) -> int | str | None:
        """Returns the key of an item; None for what is no object, and for a key of another type."""
        key = item.get(self.key) if isinstance(item, Mapping) else None
        return key if isinstance(key, int | str) and not isinstance(key, bool) else None
