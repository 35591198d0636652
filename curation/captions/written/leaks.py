"""Drops the sentences of captions that repeat the words of their prompt, as BLIP3-KALE does: sentences, not samples.

A sentence leaks if it has one of the given phrases, or a run of `RUN_WORDS` words of a prompt, whatever the case and
the punctuation. What a prompt's fields print is the image's own, so a run never goes across a field.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from schemas.errors import UsageError

RUN_WORDS = 6  # of a prompt, in a row: five occur in captions by chance ("in relation to each other")
MAX_BYTES = 1 << 16  # of a file of phrases, or a prompt

_WORD = re.compile(r"\w+")
_FIELD = re.compile(r"\{[^{}]*\}")


class CleanedText(NamedTuple):
    """Holds a caption without the sentences that leak."""

    text: str
    sentences: int  # before
    dropped: int


@dataclass(frozen=True, slots=True)
class LeakFilter:
    """Finds sentences that have one of these phrases, each a tuple of words."""

    phrases: frozenset[tuple[str, ...]]
    lengths: tuple[int, ...]  # of the phrases, in words

    @classmethod
    def build(cls, phrases: Iterable[str], prompts: Iterable[str]) -> "LeakFilter":
        """Builds the filter from phrases and the texts of prompts, whose fields are in braces."""
        found = {words for phrase in phrases if (words := _split(phrase))}
        for prompt in prompts:
            for literal in _FIELD.split(prompt):
                words = _split(literal)
                found |= {words[start : start + RUN_WORDS] for start in range(len(words) - RUN_WORDS + 1)}
        return cls(frozenset(found), tuple(sorted({len(words) for words in found})))

    def has_leak(self, sentence: str) -> bool:
        """Returns whether a sentence has one of the phrases."""
        words = _split(sentence)
        return any(
            words[start : start + length] in self.phrases
            for length in self.lengths
            for start in range(len(words) - length + 1)
        )

    def drop_leaks(self, caption: str) -> CleanedText:
        """Returns a caption without the sentences that have one of the phrases. The others stay as they are."""
        from curation.faithfulness.quotes import find_quotes
        from curation.faithfulness.sentences import drop_sentences, split_sentences  # imports lemminflect

        sentences = split_sentences(caption, [(quote.start, quote.end) for quote in find_quotes(caption)])
        dropped = [self.has_leak(caption[start:end]) for start, end in sentences]
        text = drop_sentences(caption, sentences, dropped) if any(dropped) else caption
        return CleanedText(text, len(sentences), sum(dropped))


def decode_file(content: bytes, where: str) -> str:
    """Returns the text of a file of phrases or of a prompt. Raises `UsageError`, which calls the file `where`."""
    if len(content) > MAX_BYTES:
        raise UsageError(f"{where}: it has more than {MAX_BYTES:,} bytes")
    try:
        return content.decode()
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from None


def parse_phrases(content: bytes, where: str) -> list[str]:
    """Parses a file of phrases, one a line; lines that begin with `#` are comments. Raises `UsageError`."""
    lines = decode_file(content, where).splitlines()
    phrases = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if wordless := next((phrase for phrase in phrases if not _split(phrase)), None):
        raise UsageError(f"{where}: {wordless!r} has no word")
    if not phrases:
        raise UsageError(f"{where}: it has no phrase")
    return phrases


def _split(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(text.casefold()))
