"""Chooses spans of an explanation: by their number, or by words in a caption."""

from dataclasses import replace

from pipelines.explain.origin import Explanation, SpanOrigin
from schemas.errors import UsageError

MAX_DIGITS = 9  # of a span's number; more are words


def choose_spans(found: Explanation, wanted: str | None) -> Explanation:
    """Returns the explanation with the spans that a user asks for, all without a wish. Raises `UsageError` for none.

    `wanted` is the number of a span, or else words of a caption: then the spans count that overlap them where they come
    first in each caption. Words that nothing was found for are a span without detections.
    """
    if wanted is None:
        return found
    if not wanted:
        raise UsageError("--span: it is empty: pass the number of a span, or words of a caption")
    if wanted.isdecimal() and len(wanted) <= MAX_DIGITS and int(wanted) < len(found.spans):
        return replace(found, spans=[found.spans[int(wanted)]])
    spans = [span for number in range(len(found.captions)) for span in _find_words(found, number, wanted)]
    if not spans:
        known = f"{len(found.spans):,} spans, and no caption with these words"
        raise UsageError(f"--span {wanted!r}: {found.key} has {known}")
    return replace(found, spans=spans)


def _find_words(found: Explanation, caption: int, words: str) -> list[SpanOrigin]:
    start = found.captions[caption].text.find(words)
    if start < 0:
        return []
    end = start + len(words)
    over = [span for span in found.spans if span.caption == caption and span.start < end and start < span.end]
    return over or [SpanOrigin(caption, start, end, words)]
