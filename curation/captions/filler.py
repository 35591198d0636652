"""Implements the filler rule: which words a trainer removes from an OCR caption before it trains on it.

BLIP-3 strips "the text" in its loader (arXiv 2408.08872v4, Figure 4), so the stored captions still have it. Between
quotes it is text in the image, and in the raw caption it is someone's sentence: both stay unchanged.
"""

import re

from schemas.layouts.blip3_ocr import PLACE_PATTERNS, QUOTED_PATTERN, TAGGED_PATTERN, find_sentence_starts

_FILLER = r"the text\s+"
_LEAD_IN = r"The image contains\s+"
_QUOTE = '(?=["“<])'
_AFTER = rf"(?:\s*+,\s*+(?:{_FILLER})?{_QUOTE}|(?P<ending>\s*+(?:\.\s*+)?)\Z)"
_FORMS = tuple(  # the two forms of a segment; a caption uses one of them throughout
    re.compile(f"(?P<segment>{segment}){_AFTER}", re.IGNORECASE | re.DOTALL)
    for segment in (
        f'(?:"{TAGGED_PATTERN}"|“{TAGGED_PATTERN}”|{TAGGED_PATTERN})',
        f"{QUOTED_PATTERN}(?:{'|'.join(PLACE_PATTERNS)})?",
    )
)
_START = re.compile(rf"(?:{_LEAD_IN})?(?:{_FILLER})?", re.IGNORECASE)

_LOOSE_START = re.compile(rf"(?:\A|{_LEAD_IN}){_FILLER}{_QUOTE}", re.IGNORECASE)
_LOOSE_NEXT = re.compile(rf"((?:[\"”\])]|center|corner|right),\s+){_FILLER}{_QUOTE}", re.IGNORECASE)


def strip_filler(text: str, raw_caption: str = "") -> str:
    """Returns `text` without "the text " before each segment and without the lead-in "The image contains ".

    `raw_caption` is the alt text with which the caption may begin. It stays unchanged, given or not, but only if it is
    given may it contain any text (for example a sentence just like a rendered one). Published captions that do not
    escape quotes are ambiguous: there the filler is removed wherever it stands between two segments.
    """
    raw, body = raw_caption.rstrip(), 0
    if raw and text.startswith(raw):
        body = len(text) - len(text[len(raw) :].removeprefix(".").lstrip(" "))
    for start in (body, *find_sentence_starts(text)):
        stripped = _strip_list(text[start:])
        if stripped is not None:
            return text[:start] + stripped
    return text[:body] + _strip_loosely(text[body:])


def _strip_list(sentence: str) -> str | None:
    """Returns the segments joined by commas, or None if the whole sentence is not a list of segments."""
    opening = _START.match(sentence)
    for form in _FORMS:
        segments: list[str] = []
        position = opening.end() if opening else 0
        while match := form.match(sentence, position):
            segments.append(match["segment"])
            if match["ending"] is not None:
                return ", ".join(segments) + match["ending"]
            position = match.end()
    return None


def _strip_loosely(sentence: str) -> str:
    return _LOOSE_NEXT.sub(r"\1", _LOOSE_START.sub("", sentence, count=1))
