"""Parses a long JSON list entry by entry: as Python objects, a file of one gigabyte would take several of memory.

It refuses all bytes that `json.loads` refuses, whatever the sizes of the pieces in which it reads the file. It also
refuses bytes that are not UTF-8, and an entry of more than `MAX_JSON` characters.
"""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from schemas.errors import UsageError
from schemas.json_text import MAX_JSON

READ_BYTES = 1 << 20  # bytes read at once

_SPACE = re.compile(r"[ \t\r\n]*+")
_REST_OF_NUMBER = re.compile(r"[-+.0-9eE]*+\Z")


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
    decoder = json.JSONDecoder(parse_constant=lambda _: None)
    text = _TextBuffer(file, start)
    if start == 0:
        if text.peek_character() == "\ufeff" and text.tell() == 0:
            text.position += 1
        if text.peek_character() != "[":
            raise UsageError("it does not begin as a JSON list does")
        text.position += 1
    mark = text.peek_character()
    if start == 0 and mark == "]":
        text.position += 1
    else:
        while mark != "]":
            yield text.tell(), text.read_value(decoder, number)
            number += 1
            mark = text.peek_character()
            text.position += 1
            if mark not in ("]", ","):
                raise UsageError(f"its JSON list breaks off after entry {number - 1}")
            if mark == ",":
                text.peek_character()
    if text.peek_character():
        raise UsageError("something comes after its JSON list")


class _TextBuffer:
    """Reads a file's text on demand into the buffer `buffer`; `position` is the position of the next
    character in it.
    """

    def __init__(self, file: BinaryIO, start: int) -> None:
        file.seek(start)
        self._file, self._decoder = file, codecs.getincrementaldecoder("utf-8")()
        self.buffer, self.position = "", 0
        self._known, self._place = 0, start  # a position in `buffer`, and its byte in the file

    def tell(self) -> int:
        """Returns the position of the next character in the file, in bytes."""
        self._place += len(self.buffer[self._known : self.position].encode())
        self._known = self.position
        return self._place

    def peek_character(self) -> str:
        """Skips white space and returns the next character without consuming it; empty at the end of the file."""
        while True:
            space = _SPACE.match(self.buffer, self.position)
            self.position = space.end() if space else self.position
            if self.position < len(self.buffer):
                return self.buffer[self.position]
            if not self._read_more():
                return ""

    def read_value(self, decoder: json.JSONDecoder, number: int) -> Any:
        """Parses the value that begins here and moves behind it. Raises `UsageError`, which names entry `number`."""
        while True:
            fault: ValueError | None = None
            value, length = None, 0  # in characters, because positions in `buffer` change when more is read
            try:
                value, end = decoder.raw_decode(self.buffer, self.position)
                length = end - self.position
            except RecursionError:
                raise UsageError(f"entry {number} of its JSON list is nested too deep") from None
            except ValueError as error:
                fault = error
            if fault is None and not self._may_continue(value, self.position + length):
                self.position += length
                return value
            held = len(self.buffer) - self.position
            if held > MAX_JSON:
                raise UsageError(f"entry {number} of its JSON list has over {MAX_JSON} characters")
            # Double the buffer each time, so that all attempts together cost at most twice the last one.
            while len(self.buffer) - self.position < 2 * held and self._read_more():
                pass
            if len(self.buffer) - self.position == held:  # the file has ended
                if fault is not None:
                    raise UsageError(f"entry {number} of its JSON list is not valid: {fault}")
                self.position += length
                return value

    def _may_continue(self, value: Any, end: int) -> bool:
        """Returns whether a number that ends here may continue in text not read yet, as "1" and "1." do in "1.5"."""
        return isinstance(value, int | float) and _REST_OF_NUMBER.match(self.buffer, end) is not None

    def _read_more(self) -> bool:
        piece = self._file.read(READ_BYTES)
        try:
            text = self._decoder.decode(piece, final=not piece)
        except UnicodeDecodeError:
            raise UsageError("it is not UTF-8") from None
        self.tell()
        self.buffer, self.position, self._known = self.buffer[self.position :] + text, 0, 0
        return bool(piece)
