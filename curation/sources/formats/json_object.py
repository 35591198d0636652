"""Parses a long JSON object piece by piece: its members, or the entries of a list that one of its members is.

Like `json_list`, it refuses what `json.loads` refuses, and an entry or member of more than `MAX_JSON` characters.
"""

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from curation.sources.formats.json_buffer import JsonBuffer
from curation.sources.formats.json_list import read_list_entries
from schemas.errors import UsageError


def read_members(file: BinaryIO, start: int = 0, number: int = 0) -> Iterator[tuple[str, Any]]:
    """Yields name and value of each member of the file's object, in order. `start` and `number` are as in `read_list`.

    Raises `UsageError` if the file is not one complete JSON object; the caller adds the file's name.
    """
    return (member for _, member in _read_members_with_offsets(file, start, number))


def read_named_objects(name: str) -> Callable[..., Iterator[Any]]:
    """Returns a function that yields the members of a file's object, each with its name added as the field `name`.

    A member that is not an object is yielded unchanged. The function takes and raises what `read_members` does.
    """

    def read(file: BinaryIO, start: int = 0, number: int = 0) -> Iterator[Any]:
        for key, value in read_members(file, start, number):
            yield {**value, name: key} if isinstance(value, dict) else value

    return read


def find_member_offsets(file: BinaryIO) -> Iterator[int]:
    """Yields the byte at which each member begins; reads, checks and raises as `read_members` does."""
    return (place for place, _ in _read_members_with_offsets(file, 0, 0))


def read_list(name: str) -> Callable[..., Iterator[Any]]:
    """Returns a function that yields the entries of the list that is the member `name` of a file's object.

    `start` is the byte at which entry `number` begins, as that of `find_list_offsets` yields it; 0 is the beginning of
    the file. The function raises `UsageError` if the file is not one complete JSON object with such a list.
    """
    return lambda file, start=0, number=0: (value for _, value in _read_list_with_offsets(file, name, start, number))


def find_list_offsets(name: str) -> Callable[[BinaryIO], Iterator[int]]:
    """Returns a function that yields the byte at which each entry begins; it raises as that of `read_list` does."""
    return lambda file: (place for place, _ in _read_list_with_offsets(file, name, 0, 0))


def _read_members_with_offsets(file: BinaryIO, start: int, number: int) -> Iterator[tuple[int, tuple[str, Any]]]:
    text = JsonBuffer(file, start)
    has_members = start > 0 or _open_object(text)
    while has_members:
        text.peek_character()
        place, name = text.tell(), _read_name(text, number)
        yield place, (name, text.read_value(f"member {name[:80]!r}"))
        has_members = _move_to_next(text, number)
        number += 1
    _check_end(text)


def _read_list_with_offsets(file: BinaryIO, name: str, start: int, number: int) -> Iterator[tuple[int, Any]]:
    text = JsonBuffer(file, start)
    found, member = start > 0, 0
    has_members = found or _open_object(text)
    if found:
        yield from read_list_entries(text, number, is_inside=True)
        has_members = _move_to_next(text, member)
    while has_members:
        key = _read_name(text, member)
        if key == name:
            if found:
                raise UsageError(f"its JSON object has two members {name!r}")
            if text.peek_character() != "[":
                raise UsageError(f"its member {name!r} is not a list")
            found, text.position = True, text.position + 1
            yield from read_list_entries(text, 0, is_inside=False)
        else:
            text.read_value(f"member {key[:80]!r}")
        has_members = _move_to_next(text, member)
        member += 1
    _check_end(text)
    if not found:
        raise UsageError(f"its JSON object has no member {name!r}")


def _open_object(text: JsonBuffer) -> bool:
    """Moves into the file's object and returns whether it has members; if not, moves behind it."""
    text.skip_byte_order_mark()
    if text.peek_character() != "{":
        raise UsageError("it does not begin as a JSON object does")
    text.position += 1
    if text.peek_character() != "}":
        return True
    text.position += 1
    return False


def _read_name(text: JsonBuffer, number: int) -> str:
    """Reads a member's name and the colon behind it, and moves to the value."""
    if text.peek_character() != '"':
        raise UsageError(f"member {number} of its JSON object has no name")
    name: str = text.read_value(f"the name of member {number}")
    if text.peek_character() != ":":
        raise UsageError(f"member {name[:80]!r} of its JSON object has no value")
    text.position += 1
    text.peek_character()
    return name


def _move_to_next(text: JsonBuffer, number: int) -> bool:
    """Moves behind the comma, or behind the object's end; returns whether another member follows."""
    mark = text.peek_character()
    text.position += 1
    if mark not in ("}", ","):
        raise UsageError(f"its JSON object breaks off after member {number}")
    return mark == ","


def _check_end(text: JsonBuffer) -> None:
    if text.peek_character():
        raise UsageError("something comes after its JSON object")
