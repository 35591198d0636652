"""The entries of a long JSON list, one by one: a file of a gigabyte would take several as Python's objects."""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from schemas.errors import UsageError
from schemas.records.document import MAX_JSON

PIECE = 1 << 20  # bytes read at once

_AFTER = tuple(",] \t\r\n")
_SPACE = re.compile(r"[ \t\r\n]*+")


def entries(file: BinaryIO) -> Iterator[Any]:
    """The entries, in order. UsageError, to which the caller adds which file it is: it is no list, or one cut short."""
    decoder = json.JSONDecoder(parse_constant=lambda _: None)
    text = _Text(file)
    if text.next_character() != "[":
        raise UsageError("it does not begin as a JSON list does")
    text.at += 1
    number = 0
    if text.next_character() == "]":
        text.at += 1
    else:
        while True:
            yield text.value(decoder, number)
            number += 1
            mark = text.next_character()
            text.at += 1
            if mark == "]":
                break
            if mark != ",":
                raise UsageError(f"its JSON list breaks off after entry {number - 1}")
            text.next_character()
    if text.next_character():
        raise UsageError("something comes after its JSON list")


class _Text:
    """A file's text, read as it is asked for; `at` is where the next character lies in what is held."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._decoder = file, codecs.getincrementaldecoder("utf-8-sig")()
        self.held, self.at = "", 0

    def next_character(self) -> str:
        """The next character that is no space, still unread; empty at the end."""
        while True:
            space = _SPACE.match(self.held, self.at)
            self.at = space.end() if space else self.at
            if self.at < len(self.held):
                return self.held[self.at]
            if not self._more():
                return ""

    def value(self, decoder: json.JSONDecoder, number: int) -> Any:
        """The value that begins here; afterwards the text goes on behind it."""
        while True:
            fault: ValueError | None = None
            value, end = None, 0
            try:
                value, end = decoder.raw_decode(self.held, self.at)
            except RecursionError:
                raise UsageError(f"entry {number} of its JSON list is nested too deep") from None
            except ValueError as error:
                fault = error
            if fault is None and self.held[end : end + 1] in _AFTER:  # a number may go on: "1" and "1." with "1.5"
                self.at = end
                return value
            length = len(self.held) - self.at
            if length > MAX_JSON:
                raise UsageError(f"entry {number} of its JSON list has over {MAX_JSON} characters")
            # twice as much each time: all tries together then cost no more than the last one, twice
            while len(self.held) - self.at < 2 * length and self._more():
                pass
            if len(self.held) - self.at == length:
                if fault is not None:
                    raise UsageError(f"entry {number} of its JSON list makes no sense: {fault}")
                self.at = end
                return value

    def _more(self) -> bool:
        piece = self._file.read(PIECE)
        try:
            text = self._decoder.decode(piece, final=not piece)
        except UnicodeDecodeError:
            raise UsageError("it is not UTF-8") from None
        self.held, self.at = self.held[self.at :] + text, 0
        return bool(piece)
