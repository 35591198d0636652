"""Derives from a template how its texts are escaped, so that captions can be read back, or why they cannot.

An item's text ends where its mark begins, which stands for no other place once the text's look-alikes are escaped:

- the second quote of `"{text}"`, in lists; backslashes escape, as in the published OCR captions;
- a tag, `<ref>{text}</ref>`;
- what follows with its fields, `{label} ({position})`: from its first character that is no white space up to where that
  character comes again. It must come from the template, and not from a field.
"""

import re
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from curation.captions.fields import FIELDS
from curation.captions.template_file import CaptionTemplate
from curation.format_strings import Format
from schemas.layouts.blip3_grounding import BRACKETED_PATTERNS
from schemas.layouts.blip3_ocr import TAG_PATTERN, escape_quoted, unescape_quoted
from schemas.layouts.look_alikes import LookAlike

_TAG = re.compile(r"<[^<>&\s]+>")
_QUOTED = r"((?>[^\"\\]*(?:\\.[^\"\\]*)*))"


class NotInvertible(ValueError):
    """Says why captions of a template cannot be read back."""


@dataclass(frozen=True, slots=True)
class Inversion:
    """Describes how the texts of a template's items are escaped, and what matches an item.

    Without a look-alike, the texts are in quotes.
    """

    look_alike: LookAlike | None
    before: str  # the patterns (DOTALL) of what is before the text, of the text as a group, and of what is after it
    text: str
    after: str
    lead: LookAlike | None = None
    """What a label in a list must not look like besides: the lead-in of the list."""

    def escape(self, text: str) -> str:
        """Escapes a text for an item."""
        return escape_quoted(text) if self.look_alike is None else self.look_alike.escape(text)

    def unescape(self, text: str) -> str:
        """Undoes `escape`."""
        return unescape_quoted(text) if self.look_alike is None else self.look_alike.unescape(text)

    def escape_listed(self, text: str) -> str:
        """Escapes a text for an item of a list."""
        return self.escape(text) if self.lead is None else self.lead.escape(self.escape(text))

    def unescape_listed(self, text: str) -> str:
        """Undoes `escape_listed`."""
        return self.unescape(text if self.lead is None else self.lead.unescape(text))


@cache
def invert(template: CaptionTemplate, granularity: int) -> Inversion:
    """Derives how an item is read back. Raises `NotInvertible` if some captions could be read in several ways."""
    before, after = template.split_item(granularity)
    _check_boundaries(template, granularity)
    seen: set[str] = set()
    patterns = _build_pattern(before, seen), _build_pattern(after, seen)
    opening, ending = before[-1].literal, after[0].literal
    if template.family == "ocr" and opening.endswith('"') and ending.startswith('"'):
        return Inversion(None, patterns[0], _QUOTED, patterns[1])
    if tag := _TAG.match(ending):
        others = [re.escape(one[1:]) for piece in (*before, *after) for one in _TAG.findall(piece.literal)]
        look_alike = LookAlike("<", "|".join(["(?:" + TAG_PATTERN, *dict.fromkeys(others)]) + ")")
        text = rf"((?:[^<]++|<(?!{re.escape(tag[0][1:])}))*+)"
    else:
        mark, pattern = _find_mark(after)
        look_alike, text = LookAlike(mark, pattern), "(.*?)"
        if template.family == "grounding" and granularity < len(BRACKETED_PATTERNS) and mark == "(":
            look_alike = LookAlike(mark, f"(?:{pattern}|{BRACKETED_PATTERNS[granularity]})")
    lead = _find_lead(template, before, look_alike) if template.family == "grounding" else None
    return Inversion(look_alike, patterns[0], text, patterns[1], lead)


def find_inversion(template: CaptionTemplate, granularity: int) -> Inversion | None:
    """Returns how an item is read back; None if it cannot be: its texts are then written as they are."""
    try:
        return invert(template, granularity)
    except NotInvertible:
        return None


def _build_pattern(pieces: Format, seen: set[str]) -> str:
    """Returns a pattern with a group for each field; a field that comes again must print the same."""
    pattern = ""
    for piece in pieces:
        pattern += re.escape(piece.literal)
        if piece.field in seen:
            pattern += f"(?P={piece.field})"
        elif piece.field:
            pattern += f"(?P<{piece.field}>{FIELDS[piece.field].pattern})"
            seen.add(piece.field)
    return pattern


def _check_boundaries(template: CaptionTemplate, granularity: int) -> None:
    """Raises `NotInvertible` if a field is not clearly told from what follows it."""
    item = template.get_item(granularity)
    for piece, following in pairwise(item):
        continuations = [following.literal]
        if not following.field and not following.literal:  # the end of the item
            continuations = [template.separator + item[0].literal] + ([template.tail] if template.tail else [])
        for text in continuations:
            if not text:
                raise NotInvertible(f"nothing separates {{{piece.field}}} from what follows it")
            if piece.field in FIELDS and re.match("[0-9/]", text):
                raise NotInvertible(f"{{{piece.field}}} is followed by {text[0]!r}, which could belong to it")


def _find_mark(after: Format) -> tuple[str, str]:
    """Returns the character that begins the mark after a text, and the pattern of the mark's rest.

    Raises `NotInvertible` if what follows the text is no mark.
    """
    ending = after[0].literal.lstrip()
    mark = ending[:1]
    if not mark or len(after) == 1:
        raise NotInvertible("no quote, tag or other character followed by a field ends the text")
    if mark == "&" or any(mark in FIELDS[piece.field].characters for piece in after[:-1]):
        raise NotInvertible(f"{mark!r}, which ends the text, is also printed by a field after it")
    heads: list[str] = []
    patterns: list[str] = []
    for literal, field in (after[0]._replace(literal=ending[1:]), *after[1:]):
        head, again, _ = literal.partition(mark)
        heads.append(head)
        if again or not field:
            break
        patterns += [re.escape(head), FIELDS[field].pattern]
    if not patterns:
        raise NotInvertible(f"{mark!r}, which ends the text, comes again before a field")
    if any("&" in head for head in heads):
        raise NotInvertible("an & follows the text, and entities begin with it")
    return mark, "".join(patterns) + re.escape(heads[-1].rstrip())


def _find_lead(template: CaptionTemplate, before: Format, look_alike: LookAlike) -> LookAlike:
    """Returns the look-alike of a list's lead-in.

    Raises `NotInvertible` if a caption's own words are not told from what the template writes into it.
    """
    opening = before[0].literal
    if look_alike.character == "<":
        if not _TAG.match(opening):
            raise NotInvertible("no tag begins an item whose text ends with a tag")
    elif len(before) > 1 or opening:
        raise NotInvertible("something other than a tag is written before the label")
    lead = template.lead_in.rstrip()
    if not lead:
        raise NotInvertible("no lead-in tells the list of things from the caption before it")
    pieces = [piece for _, item in template.items for piece in item]
    others = [lead[1:], template.separator, template.tail, *(piece.literal for piece in pieces)]
    others += [FIELDS[piece.field].characters for piece in pieces if piece.field in FIELDS]
    if "&" in lead or look_alike.character in lead or any(lead[0] in other for other in others):
        raise NotInvertible(f"the lead-in's first character, {lead[0]!r}, is also in what the template writes after it")
    return LookAlike(lead[0], re.escape(lead[1:]))
