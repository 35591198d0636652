"""Reads the text of a JSON file on demand, value by value."""

import codecs
import json
import re
from typing import Any, BinaryIO

from schemas.errors import UsageError
from schemas.json_text import MAX_JSON

READ_BYTES = 1 << 20  # bytes read at once

_SPACE = re.compile(r"[ \t\r\n]*+")
_REST_OF_NUMBER = re.compile(r"[-+.0-9eE]*+\Z")


class JsonBuffer:
    """Reads a file's text on demand into the buffer `buffer`; `position` is the position of the next
    character in it.
    """

    def __init__(self, file: BinaryIO, start: int) -> None:
        file.seek(start)
        self._file, self._decoder = file, codecs.getincrementaldecoder("utf-8")()
        self._json = json.JSONDecoder(parse_constant=lambda _: None)
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

    def skip_byte_order_mark(self) -> None:
        """Moves behind a byte order mark at the beginning of the file."""
        if self.peek_character() == "\ufeff" and self.tell() == 0:
            self.position += 1

    def read_value(self, what: str) -> Any:
        """Parses the value that begins here and moves behind it. Raises `UsageError`, which calls the value `what`."""
        while True:
            fault: ValueError | None = None
            value, length = None, 0  # in characters, because positions in `buffer` change when more is read
            try:
                value, end = self._json.raw_decode(self.buffer, self.position)
                length = end - self.position
            except RecursionError:
                raise UsageError(f"{what} is nested too deep") from None
            except ValueError as error:
                fault = error
            if fault is None and not self._may_continue(value, self.position + length):
                self.position += length
                return value
            held = len(self.buffer) - self.position
            if held > MAX_JSON:
                raise UsageError(f"{what} has over {MAX_JSON} characters")
            # Double the buffer each time, so that all attempts together cost at most twice the last one.
            while len(self.buffer) - self.position < 2 * held and self._read_more():
                pass
            if len(self.buffer) - self.position == held:  # the file has ended
                if fault is not None:
                    raise UsageError(f"{what} is not valid: {fault}")
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
