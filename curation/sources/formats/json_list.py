"""Parses a long JSON list entry by entry: as Python objects, a file of one gigabyte would take several of memory.

It refuses all bytes that `json.loads` refuses, whatever the sizes of the pieces in which it reads the file. It also
refuses bytes that are not UTF-8, and an entry of more than `MAX_JSON` characters.
"""

from collections.abc import Iterator
from typing import Any, BinaryIO

from curation.sources.formats.json_buffer import JsonBuffer
from schemas.errors import UsageError


def read_entries(file: BinaryIO, start: int = 0, number: int = 0) -> Iterator[Any]:
    """Yields the entries in order.

    `start` is the byte at which entry `number` begins, as `find_entry_offsets` yields it; 0 is the beginning of the
    list. Raises `UsageError` if the file is not one complete JSON list; the caller adds the file's name.
    """
    return (value for _, value in _read_entries_with_offsets(file, start, number))


def find_entry_offsets(file: BinaryIO) -> Iterator[int]:
    """Yields the byte at which each entry begins; reads, checks and raises as `read_entries` does."""
    return (place for place, _ in _read_entries_with_offsets(file, 0, 0))


def _read_entries_with_offsets(file: BinaryIO, start: int, number: int) -> Iterator[tuple[int, Any]]:
    text = JsonBuffer(file, start)
    if start == 0:
        text.skip_byte_order_mark()
        if text.peek_character() != "[":
            raise UsageError("it does not begin as a JSON list does")
        text.position += 1
    yield from read_list_entries(text, number, is_inside=start > 0)
    if text.peek_character():
        raise UsageError("something comes after its JSON list")


def read_list_entries(text: JsonBuffer, number: int, is_inside: bool) -> Iterator[tuple[int, Any]]:
    """Yields byte and value of each entry of a list from here to its end, and moves behind the list.

    `number` is that of the first entry here; `is_inside` says that there is one. Raises `UsageError`.
    """
    mark = text.peek_character()
    if mark == "]" and not is_inside:
        text.position += 1
        return
    while mark != "]":
        yield text.tell(), text.read_value(f"entry {number} of its JSON list")
        number += 1
        mark = text.peek_character()
        text.position += 1
        if mark not in ("]", ","):
            raise UsageError(f"its JSON list breaks off after entry {number - 1}")
        if mark == ",":
            text.peek_character()
