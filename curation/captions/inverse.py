"""Reads captions of a template back: the inverse of rendering, for templates that can be inverted."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from curation.captions.inversion import Inversion, invert
from curation.captions.template_file import CaptionTemplate, load_template
from schemas.layouts import blip3_ocr

TEMPLATE_KEY = b"template"
"""The key of the template file's text in the schema's metadata of a caption file."""

_MAX_LEAD_INS = 16  # lead-ins tried as the start of a list after a raw caption


@dataclass(frozen=True, slots=True)
class ReadItem:
    """Holds an item as a caption prints it."""

    text: str | None
    """The line of text or the label; None for a mention in a caption, where nothing shows where the label begins."""
    fields: Mapping[str, str]
    """What the other fields print, by name."""
    end: int | None = None
    """The end of a mention in `ReadCaption.caption`, in characters; None in a list."""


@dataclass(frozen=True, slots=True)
class ReadCaption:
    """Holds a grounding caption as it was read."""

    caption: str
    """The caption without places and list. Before a list it ends like a sentence; rendering may have added the end."""
    mentions: list[ReadItem]
    listed: list[ReadItem]


def read_template(metadata: Mapping[bytes, bytes], family: str) -> CaptionTemplate | None:
    """Returns the template that a caption file was rendered with, from its schema's metadata; None if it has none."""
    content = metadata.get(TEMPLATE_KEY)
    return None if content is None else load_template(content, "of the caption file", family).template


def read_items(template: CaptionTemplate, granularity: int, text: str) -> list[ReadItem]:
    """Reads an OCR caption. What precedes a lead-in is skipped as the raw caption, and an empty text has no items.

    Raises `NotInvertible` if the template cannot be inverted, and `ValueError` if the text is not of the template.
    """
    _check_size(text)
    inversion = invert(template, granularity)
    if not text:
        return []
    starts = [0] if text.startswith(template.lead_in) else []
    start = 0
    while template.lead_in and len(starts) < _MAX_LEAD_INS and (start := text.find(template.lead_in, start + 1)) >= 0:
        starts.append(start)
    for start in starts:
        items = _read_list(template, granularity, inversion, text, start + len(template.lead_in))
        if items is not None:
            return items
    raise ValueError(f"this caption is not of the template: {text[:40]!r}")


def read_caption(template: CaptionTemplate, granularity: int, text: str) -> ReadCaption:
    """Reads a grounding caption. Every text is valid: one without places is a caption.

    Raises `NotInvertible` if the template cannot be inverted.
    """
    _check_size(text)
    inversion = invert(template, granularity)
    start = text.rfind(template.lead_in)
    listed = None
    if start >= 0:
        listed = _read_list(template, granularity, inversion, text, start + len(template.lead_in))
    body = text if listed is None else text[:start].removesuffix(" ")
    parts: list[str] = []
    mentions: list[ReadItem] = []
    position = length = 0
    for match in _compile(template, granularity).mention.finditer(body):
        before = inversion.unescape(body[position : match.start()])
        name = inversion.unescape(match["name"]) if inversion.before else None
        parts += [before, name or ""]
        length += len(before) + len(name or "")
        mentions.append(ReadItem(name, _get_fields(match), length))
        position = match.end()
    parts.append(inversion.unescape(body[position:]))
    return ReadCaption("".join(parts), mentions, listed or [])


def _check_size(text: str) -> None:
    if len(text) > blip3_ocr.MAX_CHARACTERS:
        raise ValueError(f"caption has {len(text)} characters; at most {blip3_ocr.MAX_CHARACTERS} are read")


@dataclass(frozen=True, slots=True)
class _Patterns:
    item: re.Pattern[str]
    mention: re.Pattern[str]


@cache
def _compile(template: CaptionTemplate, granularity: int) -> _Patterns:
    """Compiles the patterns of an item in a list, and of one in a caption: without its name if no tag begins it."""
    found = invert(template, granularity)
    item = f"{found.before}(?P<name>{found.text}){found.after}"
    return _Patterns(re.compile(item, re.DOTALL), re.compile(item if found.before else found.after, re.DOTALL))


def _read_list(
    template: CaptionTemplate, granularity: int, inversion: Inversion, text: str, position: int
) -> list[ReadItem] | None:
    """Reads the items from `position` to the end of the text; returns None if there is anything else."""
    pattern = _compile(template, granularity).item
    items: list[ReadItem] = []
    while match := pattern.match(text, position):
        name = inversion.unescape_listed(match["name"])
        items.append(ReadItem(name, _get_fields(match)))
        if len(text) == match.end() + len(template.tail) and text.endswith(template.tail):
            return items
        if not text.startswith(template.separator, match.end()):
            return None
        position = match.end() + len(template.separator)
    return None


def _get_fields(match: re.Match[str]) -> dict[str, str]:
    return {name: value for name, value in match.groupdict().items() if name != "name"}
