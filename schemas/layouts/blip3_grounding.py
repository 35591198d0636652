"""Defines the published BLIP3-GROUNDING-50M layout: its columns, the content of its strings, and a parser of captions.

`captions` is a string that holds a Python literal, a list of [caption, granularity, include_datacomp_raw_cap];
`metadata` is a string that holds JSON; `cogvlm_caption` is the caption into which the places were written. Every
published spelling is read; one is written, and the schema's metadata says which. Source: Figures 3 and 4 of BLIP-3
(arXiv 2408.08872v4), and what is known of the released files, which hold "upto" for the paper's "up to".
"""

import ast
import json
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from schemas.errors import to_one_line
from schemas.layouts.blip3_ocr import (
    BOX_PATTERN,
    LEAD_IN,
    POSITION_PATTERN,
    escape_tagged,
    normalise_position,
    parse_box_and_confidence,
    unescape_tagged,
)
from schemas.layouts.look_alikes import LookAlike
from schemas.records.box import Box
from schemas.records.caption import Caption
from schemas.records.training_text import BOM

TEMPLATE_VERSION = "1"  # raised with every change of the bytes that an annotation renders to
GRANULARITIES = range(3)
ALT_TEXT = "alt_text"  # `base_caption` of a set whose places were written into the alt texts
BOX_FORMAT = "norm_xyxy_3dp"  # x1, y1, x2, y2 in [0, 1], printed to three decimals

MAX_CHARACTERS = 1 << 26  # limit of one string; six page-long captions need less than 2 ** 16
MAX_CAPTIONS = 64  # limit of one row; the released files are said to hold six at most

# The literal's shape is checked before Python parses it: the syntax tree of hostile text takes 500 bytes per character.
_STRING = r"""(?:'(?:[^'\\\r\n]++|\\.)*+'|"(?:[^"\\\r\n]++|\\.)*+")"""
_OPENING = re.compile(r"\s*+\[\s*+")
_ITEM = re.compile(
    rf"[\[(]\s*+{_STRING}\s*+,\s*+-?[0-9]{{1,9}}\s*+,\s*+(?:True|False)\s*+,?\s*+[\])]\s*+(?:,\s*+|(?=\]))", re.DOTALL
)
_CLOSING = re.compile(r"\]\s*+\Z")

_NUMBER = r"\s*+(-?[0-9]{1,9}(?:\.[0-9]{1,17})?)\s*+"  # possessive here and below, so that no text takes quadratic time
_POINT = rf"[\[(]{_NUMBER},{_NUMBER}[\])]"
_PLACES = (f"({POSITION_PATTERN})", rf"starts at {_POINT} and extends up ?to {_POINT}")
_NAME = r"((?:[^<]++|<(?!/?(?:object|bbox)>))*+)"
_OBJECT = rf"<object>{_NAME}</object>\s*+{BOX_PATTERN}"
_BRACKET = rf"\(\s*+{BOX_PATTERN}\s*+\)"  # as in the paper's body, where no tag shows where the name begins
_BARE = rf"((?:[^<(]++|<(?!/?(?:object|bbox)>)|\((?!\s*+<bbox>))++){_BRACKET}"
_MENTION_PATTERNS = (*(re.compile(rf" \({place}\)") for place in _PLACES), re.compile(f"{_OBJECT}| {_BRACKET}"))
_TAIL_PATTERNS = (
    *(re.compile(rf"(.*?) \({place}\)", re.DOTALL) for place in _PLACES),
    re.compile(f"{_OBJECT}|{_BARE}"),
)
_NEXT = re.compile(r"\s*+,\s?")  # at most one space, because a name may begin with another
_END = re.compile(r"\s*+(?:\.\s*+)?\Z")

BRACKETED_PATTERNS = tuple(rf"{place}\)" for place in _PLACES)
"""Match what follows the opening bracket of a place in granularities 0 and 1."""

_LEAD = LEAD_IN.rstrip()
_BRACKETS = tuple(LookAlike("(", place) for place in BRACKETED_PATTERNS)
_LEADS = LookAlike(_LEAD[0], _LEAD[1:])


@dataclass(frozen=True, slots=True)
class GroundingEntry:
    """Holds one detection of `metadata`. In third-party files the box and the confidence may be missing."""

    category: str
    box: Box | None
    confidence: float | None


@dataclass(frozen=True, slots=True)
class GroundedObject:
    """Holds one object as a caption names and places it."""

    name: str | None
    """The object's name; None for a mention without tags, where nothing shows where the name begins."""
    end: int | None
    """The end of the mention in `GroundedText.caption`, in characters; None in the tail sentence."""
    position: str | None = None
    """For granularity 0: one of `schemas.layouts.blip3_ocr.POSITIONS`."""
    box: Box | None = None
    """For granularities 1 and 2."""


@dataclass(frozen=True, slots=True)
class GroundedText:
    """Holds the parsed text of a caption."""

    caption: str
    """The text without markup and tail. Before a tail it ends like a sentence; the renderer may have added the end."""
    mentions: list[GroundedObject]
    tail: list[GroundedObject]


def blip3_grounding_schema(source_revision: str, base_caption: str) -> pa.Schema:
    """Returns the fixed Arrow schema of a caption set.

    `source_revision` names the annotations from which the set was rendered. `base_caption` names the captions into
    which the places were written: `ALT_TEXT`, or the column of another data set.
    """
    return pa.schema(
        [
            pa.field("uid", pa.string()),
            pa.field("url", pa.string()),
            pa.field("key", pa.string(), nullable=False),
            pa.field("sha256", pa.string(), nullable=False),
            pa.field("cogvlm_caption", pa.string(), nullable=False),
            pa.field("captions", pa.string(), nullable=False),
            pa.field("metadata", pa.string(), nullable=False),
        ],
        metadata={
            b"template_version": TEMPLATE_VERSION.encode(),
            b"wording": b"upto",  # as released; the paper has "up to", and readers accept both
            b"coord": BOX_FORMAT.encode(),
            b"source_revision": source_revision.encode(),
            b"base_caption": base_caption.encode(),
        },
    )


def escape_marked(text: str, granularity: int) -> str:
    """Escapes a caption's own words: the first character of what looks like markup becomes `&#40;` or `&lt;`.

    An escaped look-alike is escaped once more. Text without look-alikes, which is nearly all text, is unchanged.
    """
    if "&" not in text and ("<" if granularity == 2 else "(") not in text:  # a fast path for nearly all texts
        return text
    return escape_tagged(text) if granularity == 2 else _BRACKETS[granularity].escape(text)


def escape_listed(name: str, granularity: int) -> str:
    """Escapes an object's name for the tail sentence, where a name must not look like a lead-in either."""
    escaped = escape_marked(name, granularity)
    return _LEADS.escape(escaped) if _LEAD[1:] in escaped else escaped


def is_end(caption: str, position: int) -> bool:
    """Returns whether a list of places may end there: no more than a full stop and white space follows."""
    return _END.match(caption, position) is not None


def parse_captions(captions: str) -> list[Caption]:
    """Parses the `captions` column of one row. Raises `ValueError` naming the fault.

    Select captions by `granularity`, never by position.
    """
    if len(captions) > MAX_CHARACTERS:
        raise ValueError(f"captions has {len(captions)} characters; at most {MAX_CHARACTERS} are read")
    _check_shape(captions)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warns of backslashes that escape nothing, which are kept as they are
            items = ast.literal_eval(captions.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError(f"captions is not a Python literal: {to_one_line(error)}") from None
    return [_parse_caption(item, f"captions[{number}]") for number, item in enumerate(items)]


def parse_metadata(metadata: str) -> list[GroundingEntry]:
    """Parses the `metadata` column of one row into its entries. Raises `ValueError` naming the fault.

    It checks neither `length` against the entries nor `format`: what the released files hold there is not known.
    """
    if len(metadata) > MAX_CHARACTERS:
        raise ValueError(f"metadata has {len(metadata)} characters; at most {MAX_CHARACTERS} are read")
    try:
        value = json.loads(metadata)
    except ValueError as error:
        raise ValueError(f"metadata is not JSON: {error}") from None
    except RecursionError:
        raise ValueError("metadata is nested too deep") from None
    entries = value.get("entries") if isinstance(value, dict) else None
    if not isinstance(entries, list):
        raise ValueError("metadata has no list named entries")
    return [_parse_entry(item, f"metadata entries[{number}]") for number, item in enumerate(entries)]


def parse_text(text: str, granularity: int) -> GroundedText:
    """Parses one caption's text. Every text is valid: a text without markup is a caption without places.

    It accepts `up to` and `upto`, `[]` and `()`, both forms of `<bbox>`, and both forms of the paper's body: `dog
    (<bbox>x1, y1, x2, y2</bbox>)` and `dog (top-left corner of the image)`. The tail sentence is what follows the last
    "The image contains" if all of that is a list of places. Raises `ValueError` for an unknown granularity or a text
    that is too long.
    """
    if granularity not in GRANULARITIES:
        raise ValueError(f"granularity {granularity} is not one of 0 to 2")
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"caption has {len(text)} characters; at most {MAX_CHARACTERS} are read")
    start = text.rfind(LEAD_IN)
    tail = _parse_list(text, start + len(LEAD_IN), granularity) if start >= 0 else None
    body = text if tail is None else text[:start].removesuffix(" ")
    parts: list[str] = []
    mentions: list[GroundedObject] = []
    position = length = 0
    for match in _MENTION_PATTERNS[granularity].finditer(body):
        before, printed = unescape_marked(body[position : match.start()], granularity), match.groups()
        name = unescape_marked(match[1], granularity) if granularity == 2 and match[1] is not None else None
        parts += [before, name or ""]
        length += len(before) + len(name or "")
        mentions.append(_make_object(name, length, granularity, printed[1:] if granularity == 2 else printed))
        position = match.end()
    parts.append(unescape_marked(body[position:], granularity))
    return GroundedText("".join(parts), mentions, tail or [])


def is_bare_list(text: str, granularity: int) -> bool:
    """Returns whether a caption's text is only the tail sentence: a list of objects without a caption."""
    if LEAD_IN not in text:  # a fast path for nearly all texts
        return False
    found = parse_text(text, granularity)
    return bool(found.tail) and not found.caption


def strip_markup(text: str, granularity: int) -> str:
    """Returns the caption without markup and tail sentence, as in `GroundedText.caption`."""
    return parse_text(text, granularity).caption


def unescape_marked(text: str, granularity: int) -> str:
    """Undoes `escape_marked`."""
    return unescape_tagged(text) if granularity == 2 else _BRACKETS[granularity].unescape(text)


def _parse_list(text: str, position: int, granularity: int) -> list[GroundedObject] | None:
    """Parses the places from `position` to the end of the text; returns None if there is anything else."""
    places: list[GroundedObject] = []
    while match := _TAIL_PATTERNS[granularity].match(text, position):
        name, *printed = (group for group in match.groups() if group is not None)
        is_bare = granularity == 2 and match[1] is None
        name = unescape_marked(_LEADS.unescape(name.rstrip() if is_bare else name), granularity)
        places.append(_make_object(name, None, granularity, printed))
        if _END.match(text, match.end()):
            return places
        following = _NEXT.match(text, match.end())
        if not following:
            return None
        position = following.end()
    return None


def _make_object(name: str | None, end: int | None, granularity: int, printed: Sequence[str | None]) -> GroundedObject:
    values = [value for value in printed if value is not None]  # the pattern of a box has groups for each of its forms
    if granularity == 0:
        return GroundedObject(name, end, position=normalise_position(values[0]))
    x1, y1, x2, y2 = map(float, values)
    return GroundedObject(name, end, box=(x1, y1, x2, y2))


def _check_shape(captions: str) -> None:
    """Raises `ValueError` unless the text is a flat list of a few short lists or tuples, with any spacing."""
    opening = _OPENING.match(captions)
    position = opening.end() if opening else 0
    items = 0
    while items < MAX_CAPTIONS and opening and (item := _ITEM.match(captions, position)):
        position, items = item.end(), items + 1
    if not opening or not _CLOSING.match(captions, position):
        found = captions[position : position + 40]
        raise ValueError(
            "captions is not a Python list of [caption, granularity, include_datacomp_raw_cap], "
            f"{MAX_CAPTIONS} at most: from character {position} on: {found!r}"
        )


def _parse_caption(item: Any, place: str) -> Caption:
    text, granularity, with_raw = item
    if re.search("[\ud800-\udfff]", text):  # no file format can store it
        raise ValueError(f"{place} has half of a surrogate pair in its text")
    if granularity not in GRANULARITIES:
        raise ValueError(f"{place} has the granularity {granularity!r}, not one of 0 to 2")
    return Caption(text.lstrip(BOM), granularity, with_raw)


def _parse_entry(item: Any, place: str) -> GroundingEntry:
    category = item.get("category") if isinstance(item, dict) else None
    if not isinstance(category, str):
        raise ValueError(f"{place} has no category")
    return GroundingEntry(category, *parse_box_and_confidence(item, place))
