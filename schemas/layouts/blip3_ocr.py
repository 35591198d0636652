"""Defines the published BLIP3-OCR-200M layout: its columns, the content of its JSON strings, and a parser of captions.

`captions` and `metadata` are strings that hold JSON. Every published spelling is read; one is written, and the schema's
metadata says which. Source: the layout and Figure 4 of BLIP-3 (arXiv 2408.08872v4), whose "Level" is granularity + 1.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import pyarrow as pa

from schemas.layouts.look_alikes import LookAlike
from schemas.records.box import Box
from schemas.records.caption import Caption
from schemas.records.training_text import BOM

TEMPLATE_VERSION = "1"  # raised with every change of the bytes that an annotation renders to
GRANULARITIES = range(6)
LEAD_IN = "The image contains "
FILLER = "the text "
POSITIONS = (
    "at the top left corner",
    "above the center",
    "at the top right corner",
    "to the left of the center",
    "in the center",
    "to the right of the center",
    "at the bottom left corner",
    "below the center",
    "at the bottom right corner",
)
"""The phrases of granularity 1: a 3 x 3 grid over the box's centre, row by row."""

_IMAGE_POSITIONS = (
    r"(?:at the )?top[- ]left corner",
    r"(?:at the )?top(?: cent(?:er|re))?",
    r"(?:at the )?top[- ]right corner",
    r"(?:on the )?left(?: side)?",
    r"(?:in the )?cent(?:er|re)",
    r"(?:on the )?right(?: side)?",
    r"(?:at the )?bottom[- ]left corner",
    r"(?:at the )?bottom(?: cent(?:er|re))?",
    r"(?:at the )?bottom[- ]right corner",
)
"""Match the phrases before "of the image" in the paper's body ("top-left corner"), one for each of `POSITIONS`."""

TAG_PATTERN = r"/?(?:ocr|bbox|object)>"
"""Matches the tags of both layouts after their `<`."""

MAX_BITS = 64  # of a whole number in JSON; more may be too many for a float
MAX_CHARACTERS = 1 << 26  # limit of one JSON string or caption; a page of dense print needs less than 2 ** 20

_MAX_LEAD_INS = 16  # lead-ins tried as the start of a sentence after a raw caption
_NUMBER = r"\s*+(-?[0-9]{1,9}(?:\.[0-9]{1,17})?)\s*+"  # possessive here and below, so that no text takes quadratic time
_POINT = rf"[\[(]{_NUMBER},{_NUMBER}[\])]"
_SHARE = r"([0-9]{1,9}(?:/[1-9][0-9]{0,8})?)"

QUOTED_PATTERN = r'(?:"((?>[^"\\]*(?:\\.[^"\\]*)*))"|“([^”]*)”)'
"""Matches (DOTALL) a text in quotes. A backslash escapes in straight quotes, and is plain text in curly quotes."""
BOX_PATTERN = rf"<bbox>(?:{_POINT}\s*+{_POINT}|{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER})</bbox>"
"""Matches a box in tags, as two points (Figure 4) or four numbers (the body of the paper)."""
TAGGED_PATTERN = rf"<ocr>(?>(.*?)</ocr>)\s*+{BOX_PATTERN}"
"""Matches (DOTALL) a text and its box in tags."""

POSITION_PATTERN = rf"(?:{'|'.join(POSITIONS)}|(?i:(?:{'|'.join(_IMAGE_POSITIONS)}) of the image))"
"""Matches the phrases of granularity 1 that `normalise_position` takes."""

PLACE_PATTERNS = (
    rf" \(?(?:located )?({POSITION_PATTERN})\)?",
    rf" \(?located at {_SHARE} of the image from top to bottom and {_SHARE} of the image from left to right\)?",
    rf" \(?approximately starts at {_POINT} and extends up ?to {_POINT}\)?",
    rf" \(?starts at {_POINT} and extends up ?to {_POINT}\)?",
)
"""Patterns of what follows the quoted text in granularities 1 to 4."""

_SEGMENT_PATTERNS = (
    *(re.compile(QUOTED_PATTERN + place, re.DOTALL) for place in ("", *PLACE_PATTERNS)),
    re.compile(f'["“]?{TAGGED_PATTERN}["”]?', re.DOTALL),
)
# The body of the paper puts the place in brackets after a text that needs no quotes. Such a text ends at the bracket
# and contains no tag and no lead-in: what precedes a lead-in is the raw caption.
_BRACKETED_PATTERNS = {
    granularity: re.compile(
        rf"(?:{QUOTED_PATTERN}\s*+|(?![\"“])((?:[^<(T]++|<(?!{TAG_PATTERN})|T(?!{LEAD_IN[1:]})|\((?!{place}\)))++))"
        rf"\({place}\)",
        re.DOTALL,
    )
    for granularity, place in ((1, rf"\s*+({POSITION_PATTERN})\s*+"), (5, rf"\s*+{BOX_PATTERN}\s*+"))
}
_TAGS = LookAlike("<", TAG_PATTERN)
_START = re.compile(r"(?:The image contains\s+)?(?:the text\s+)?", re.IGNORECASE)
_NEXT = re.compile(r"\s*+,\s*+(?:the text\s+)?", re.IGNORECASE)
_END = re.compile(r"\s*+(?:\.\s*+)?\Z")


@dataclass(frozen=True, slots=True)
class OcrEntry:
    """Holds one line of text of `metadata`. In third-party files the box and the confidence may be missing."""

    text: str
    box: Box | None
    confidence: float | None


@dataclass(frozen=True, slots=True)
class OcrSegment:
    """Holds one line of text of a caption. The granularity determines which of the last three fields is set."""

    text: str
    position: str | None = None
    """For granularity 1: one of `POSITIONS`."""
    centre: tuple[Fraction, Fraction] | None = None
    """For granularity 2: the box's centre from top to bottom, then from left to right, each 0 to 1."""
    box: Box | None = None
    """For granularities 3 (one decimal), 4 and 5 (three decimals)."""


def blip3_ocr_schema(source_revision: str) -> pa.Schema:
    """Returns the fixed Arrow schema of a caption set.

    `source_revision` names the annotations from which the set was rendered.
    """
    return pa.schema(
        [
            pa.field("uid", pa.string()),
            pa.field("url", pa.string()),
            pa.field("key", pa.string(), nullable=False),
            pa.field("sha256", pa.string(), nullable=False),
            pa.field("captions", pa.string(), nullable=False),
            pa.field("metadata", pa.string(), nullable=False),
        ],
        metadata={
            b"template_version": TEMPLATE_VERSION.encode(),
            b"wording": b"up to",  # the released files are said to hold "upto"; readers accept both
            b"coord": b"norm_xyxy_3dp",
            b"source_revision": source_revision.encode(),
        },
    )


def escape_quoted(text: str) -> str:
    r"""Escapes `text` for double quotes: `\` becomes `\\`, `"` becomes `\"`."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def unescape_quoted(text: str) -> str:
    """Undoes `escape_quoted`; other backslashes, for example in third-party files, are kept."""
    return re.sub(r'\\([\\"])', r"\1", text)


def escape_tagged(text: str) -> str:
    """Escapes `text` for `<ocr>`: changes only the first character of what looks like a tag or an escaped tag."""
    return _TAGS.escape(text)


def unescape_tagged(text: str) -> str:
    """Undoes `escape_tagged`."""
    return _TAGS.unescape(text)


def parse_captions(captions: str) -> list[Caption]:
    """Parses the `captions` column of one row. Raises `ValueError` naming the fault.

    Select captions by `granularity`, never by position.
    """
    items = _load_column(captions, "captions", list)
    return [_parse_caption(item, f"captions[{number}]") for number, item in enumerate(items)]


def parse_metadata(metadata: str) -> list[OcrEntry]:
    """Parses the `metadata` column of one row into its entries. Raises `ValueError` naming the fault.

    It does not check `length` against the entries: what it counts in the released files is not known.
    """
    entries = _load_column(metadata, "metadata", dict).get("entries")
    if not isinstance(entries, list):
        raise ValueError("metadata has no list named entries")
    return [_parse_entry(item, f"metadata entries[{number}]") for number, item in enumerate(entries)]


def parse_segments(text: str, granularity: int) -> list[OcrSegment]:
    """Parses one caption's text into a segment for each line of text.

    It accepts `up to` and `upto`, `[]` and `()`, both forms of `<bbox>`, straight and curly quotes (optional around
    tags, and before brackets that hold a `<bbox>` or "top-left corner of the image", as in the body of the paper), and
    texts with or without the lead-in and "the text". It skips what precedes a lead-in as the raw caption. An empty text
    has no segments. Raises `ValueError` naming the character from which the text cannot be parsed.
    """
    if granularity not in GRANULARITIES:
        raise ValueError(f"granularity {granularity} is not one of 0 to 5")
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"caption has {len(text)} characters; at most {MAX_CHARACTERS} are read")
    if not text:
        return []
    furthest = 0
    for start in find_sentence_starts(text):
        read = _read_list(text, start, granularity)
        if isinstance(read, list):
            return read
        furthest = max(furthest, read)
    found = text[furthest : furthest + 40]
    raise ValueError(f"granularity {granularity} caption can't be read from character {furthest} on: {found!r}")


def find_sentence_starts(text: str) -> Iterator[int]:
    """Yields the positions where the rendered sentence may begin: 0, or, after a raw caption, each lead-in."""
    yield 0
    start = -1
    for _ in range(_MAX_LEAD_INS):
        start = text.find(LEAD_IN, start + 1)
        if start < 0:
            return
        yield start


def _read_list(text: str, start: int, granularity: int) -> list[OcrSegment] | int:
    """Parses the segments from `start` to the end of the text; returns the position of the failure if it cannot."""
    segments: list[OcrSegment] = []
    opening = _START.match(text, start)
    while opening:
        match, read = _SEGMENT_PATTERNS[granularity].match(text, opening.end()), _parse_segment
        if not match and granularity in _BRACKETED_PATTERNS:
            match, read = _BRACKETED_PATTERNS[granularity].match(text, opening.end()), _parse_bracketed
        if not match:
            return opening.end()
        segments.append(read(match, granularity))
        if _END.match(text, match.end()):
            return segments
        start, opening = match.end(), _NEXT.match(text, match.end())
    return start


def _parse_segment(match: re.Match[str], granularity: int) -> OcrSegment:
    if granularity == 5:
        box = [float(number) for number in match.groups()[1:] if number is not None]
        return OcrSegment(unescape_tagged(match[1]), box=(box[0], box[1], box[2], box[3]))
    straight, curly, *rest = match.groups()
    text = unescape_quoted(straight) if straight is not None else curly
    match granularity:
        case 0:
            return OcrSegment(text)
        case 1:
            return OcrSegment(text, position=normalise_position(rest[0]))
        case 2:
            return OcrSegment(text, centre=(Fraction(rest[0]), Fraction(rest[1])))
        case _:
            x1, y1, x2, y2 = map(float, rest)
            return OcrSegment(text, box=(x1, y1, x2, y2))


def _parse_bracketed(match: re.Match[str], granularity: int) -> OcrSegment:
    straight, curly, *others = match.groups()
    groups = [group for group in others if group is not None]  # the pattern of a box has groups for each of its forms
    text = unescape_quoted(straight) if straight is not None else curly
    if text is None:
        text = groups.pop(0).rstrip()
    if granularity == 1:
        return OcrSegment(text, position=normalise_position(groups[-1]))
    x1, y1, x2, y2 = map(float, groups)
    return OcrSegment(text, box=(x1, y1, x2, y2))


def normalise_position(words: str) -> str:
    """Returns the entry of `POSITIONS` that has the meaning of words matched by `POSITION_PATTERN`."""
    for place, position in zip(_IMAGE_POSITIONS, POSITIONS, strict=True):
        if re.fullmatch(f"{place} of the image", words, re.IGNORECASE):
            return position
    return words


def _load_column(column: str, name: str, kind: type) -> Any:
    """Parses the JSON of a column. Raises a one-line `ValueError` for invalid JSON, deep nesting or another type."""
    if len(column) > MAX_CHARACTERS:
        raise ValueError(f"{name} has {len(column)} characters; at most {MAX_CHARACTERS} are read")
    try:
        value = json.loads(column)
    except ValueError as error:
        raise ValueError(f"{name} is not JSON: {error}") from None
    except RecursionError:
        raise ValueError(f"{name} is nested too deep") from None
    if not isinstance(value, kind):
        raise ValueError(f"{name} holds a {type(value).__name__}, not a {kind.__name__}")
    return value


def _get_text(item: Any, place: str) -> str:
    """Returns an item's `text`. Raises `ValueError` for a lone surrogate, which JSON can hold and Arrow cannot."""
    text = item.get("text") if isinstance(item, dict) else None
    if not isinstance(text, str):
        raise ValueError(f"{place} has no text")
    if re.search("[\ud800-\udfff]", text):
        raise ValueError(f"{place} has half of a surrogate pair in its text")
    return text


def _parse_caption(item: Any, place: str) -> Caption:
    text = _get_text(item, place)
    granularity, with_raw = item.get("granularity"), item.get("include_datacomp_raw_cap")
    if type(granularity) is not int or granularity not in GRANULARITIES:
        raise ValueError(f"{place} has the granularity {granularity!r}, not one of 0 to 5")
    if not isinstance(with_raw, bool):
        raise ValueError(f"{place} has the include_datacomp_raw_cap {with_raw!r}, neither true nor false")
    return Caption(text.lstrip(BOM), granularity, with_raw)


def _parse_entry(item: Any, place: str) -> OcrEntry:
    return OcrEntry(_get_text(item, place), *parse_box_and_confidence(item, place))


def parse_box_and_confidence(item: dict[str, Any], place: str) -> tuple[Box | None, float | None]:
    """Returns the box and the confidence of an entry of either layout's metadata; each may be missing.

    Raises `ValueError`, naming the entry by its `place`, if either has another type.
    """
    box, confidence = item.get("bbox"), item.get("confidence")
    if box is not None and not (isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))):
        raise ValueError(f"{place} has a bbox that is not four numbers")
    if confidence is not None and not _is_number(confidence):
        raise ValueError(f"{place} has a confidence that is not a number")
    return (
        None if box is None else (float(box[0]), float(box[1]), float(box[2]), float(box[3])),
        None if confidence is None else float(confidence),
    )


def _is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and value.bit_length() <= MAX_BITS)
