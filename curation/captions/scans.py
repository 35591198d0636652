"""Finds texts by single characters in their bytes, at ten times the speed of a regular expression for each text."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Flags = NDArray[np.bool_]

_FIRST_OF_SEVERAL = 0x80  # the bytes from here on are of characters that have several


def find_escaped(texts: pa.StringArray, characters: str, entities: str = "") -> Flags:
    """Returns which texts may have a control character, one of these characters, or an `&` before one of `entities`.

    A null has none. Of a character beyond ASCII only the first byte is looked for, which others have, too.
    """
    content, offsets = _get_bytes(texts)
    is_found = content < 0x20
    for first in {character.encode()[0] for character in characters}:
        is_found |= content == first
    if entities:
        places = np.flatnonzero(content[:-1] == ord("&"))
        is_found[places[_is_one_of(content[places + 1], entities)]] = True
    found = np.zeros(len(texts), np.bool_)
    found[np.searchsorted(offsets, np.flatnonzero(is_found), side="right") - 1] = True
    return found & np.asarray(texts.is_valid()) if texts.null_count else found


def find_endings(texts: pa.StringArray, characters: str) -> Flags:
    """Returns which texts end with one of these characters."""
    content, offsets = _get_bytes(texts)
    found = np.zeros(len(texts), np.bool_)
    filled = np.flatnonzero(np.diff(offsets))
    last = content[offsets[filled + 1] - 1]
    found[filled] = _is_one_of(last, characters)
    others = filled[last >= _FIRST_OF_SEVERAL]
    if len(others):
        found[others] = pc.match_substring_regex(texts.take(pa.array(others)), rf"[{re.escape(characters)}]\z")
    return found


def _is_one_of(found: NDArray[np.uint8], characters: str) -> Flags:
    """Returns which bytes are one of these characters, as far as they are ASCII."""
    table = np.zeros(256, np.bool_)
    table[list(characters.encode("ascii", "ignore"))] = True
    return table[found]


def _get_bytes(texts: pa.StringArray) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Returns the bytes of all texts, and where each begins, and the last ends."""
    _, ends, content = texts.buffers()
    offsets = np.frombuffer(ends, np.int32, len(texts) + 1, 4 * texts.offset)
    first, last = int(offsets[0]), int(offsets[-1])
    data = np.frombuffer(content, np.uint8)[first:last] if last > first else np.zeros(0, np.uint8)
    return data, offsets - first
