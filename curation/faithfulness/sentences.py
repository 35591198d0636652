"""Splits captions into sentences, without splitting after abbreviations, in numbers or within quotations."""

import re
from collections.abc import Sequence

from curation.faithfulness.words import list_words

Span = tuple[int, int]

_MARKS = "!?…؟۔।॥።᙮‼⁇⁈⁉"
_WIDE_MARKS = "。．｡！？"  # no space follows these
_CLOSING = r"[\"'”’»›)\]」』＂]*"
# The look-behinds keep the search linear in long runs of marks.
_END = re.compile(
    rf"(?<![.{_MARKS}])[.{_MARKS}]++{_CLOSING}+(?=\s)|(?<![{_WIDE_MARKS}])[{_WIDE_MARKS}]++{_CLOSING}+|\n\s*+"
)

# In lower case and without the last full stop. A name or a number usually follows them, so a capital means nothing.
_ABBREVIATIONS = frozenset(
    list_words("""
    mr mrs ms dr prof st rev gen col capt lt sgt hon sr jr vs approx ca cf e.g i.e fig no vol pp ed est dept inc ltd co
    mt ft u.s u.k u.s.a d.c a.m p.m jan feb mar apr jun jul aug sep sept oct nov dec bzw z.b nr hr fr
    """)
)
_LAST_WORD = re.compile(r"[^\s(\[\"'“‘«]+$")
_NEXT = re.compile(r"\s*+(\S)")
_INITIAL = re.compile(r"(?:\w\.)*\w", re.ASCII)


def split_sentences(text: str, quotes: Sequence[Span] = ()) -> list[Span]:
    """Returns the spans of the sentences of a text, without the white space around them.

    No sentence ends within one of the `quotes`, unless it ends together with it.
    """
    ends = [match.end() for match in _END.finditer(text) if _is_end(text, match, quotes)]
    spans, start = [], 0
    for end in [*ends, len(text)]:
        piece = text[start:end]
        if stripped := piece.strip():
            first = start + piece.index(stripped)
            spans.append((first, first + len(stripped)))
        start = end
    return spans


def drop_sentences(text: str, sentences: Sequence[Span], dropped: Sequence[bool]) -> str:
    """Returns a text without the sentences that are `dropped`, one flag for each; the others stay as they are."""
    kept = list[str]()
    for number, ((start, end), is_dropped) in enumerate(zip(sentences, dropped, strict=True)):
        if not is_dropped:
            gap = text[sentences[number - 1][1] : start] if kept else ""
            kept.append(gap + text[start:end])
    return "".join(kept)


def _is_end(text: str, match: re.Match[str], quotes: Sequence[Span]) -> bool:
    if any(start < match.end() < end for start, end in quotes):
        return False
    if not match[0].startswith(".") or match[0].startswith(".."):
        return not match[0].startswith("..") or not _continues(text, match.end())
    if _continues(text, match.end()):
        return False
    word = _LAST_WORD.search(text, max(0, match.start() - 20), match.start())
    if word is None:
        return True
    last = word[0].lower()
    if last in _ABBREVIATIONS:
        return False
    return not (_INITIAL.fullmatch(word[0]) and word[0].isupper())  # "J. R. R. Tolkien"


def _continues(text: str, position: int) -> bool:
    """Returns whether the sentence goes on there, because the next word has a small letter."""
    following = _NEXT.match(text, position)
    return following is not None and following[1].islower()
