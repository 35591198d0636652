"""Tags an image by its caption: finds mentions of a vocabulary's entries in the alt text, as GRIT takes noun phrases.

It runs Aho-Corasick over words, not characters: no mention is part of another word, and folding letter case cannot
shift a span. Instead of lemmatising captions, it adds `lemminflect`'s plurals of each entry to the automaton, so that a
caption costs look-ups only and no word of it has to be guessed. An entry takes precedence over another entry's plural:
"glasses" over "glass". Of overlapping mentions the longest counts: "car park attendant" in "red car park attendant".

What is mentioned need not be visible: "no dogs allowed" mentions dogs, "Robin" a bird, "orange dress" a fruit. The
boxes decide that. Entries in scripts without spaces are found within longer words, because nothing there marks where
those end; this holds for kana and ideographs only, Thai and its neighbours are matched by whole runs.
"""

from collections.abc import Sequence
from importlib.metadata import version
from itertools import repeat

import ahocorasick
import lemminflect

from curation.engines.tags.caption_settings import CaptionTagSettings
from curation.engines.tags.vocabulary import find_word_spans, read_vocabulary, split_words
from curation.images.decode import RgbImage
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.tag import Tag

_OTHER_WORDS = repeat("\0\0")  # the code of all words that occur in no tag
_PLURALS = {"person": ("people",), "ox": ("oxen",)}  # plurals that lemminflect lacks


class CaptionTags:
    """Implements `TagEngine` by the alt text alone, without pixels. It accepts any text and never raises an error."""

    def __init__(self, settings: CaptionTagSettings | None = None) -> None:
        """Reads the vocabulary. Raises `UsageError` if it cannot be used."""
        self.settings = settings or CaptionTagSettings()
        self.vocabulary = read_vocabulary(self.settings.vocabulary)
        self.fingerprint = EngineFingerprint(
            name="caption",
            version=f"pyahocorasick {version('pyahocorasick')}, lemminflect {version('lemminflect')}",
            weights_sha256=self.vocabulary.sha256,
            settings=self.settings.model_dump(exclude={"vocabulary"}),  # its path does not identify it
        )
        self._codes, self._automaton = _build_automaton(build_caption_patterns(self.vocabulary.names))

    def annotate(self, images: Sequence[RgbImage], captions: Sequence[str]) -> list[list[Tag]]:
        """Returns the mentions in each caption, in the caption's order.

        Of overlapping mentions the one with the most characters counts, then the first, as in `captions.mentions`.
        """
        return [self.tag_caption(caption) for caption in captions]

    def tag_caption(self, caption: str) -> list[Tag]:
        """Returns the mentions in one caption; `caption[start:end]` is a mention as it is written there."""
        coded = "".join(map(self._codes.get, split_words(caption), _OTHER_WORDS))
        found = [(last // 2 - length + 1, last // 2, name) for last, (length, name) in self._automaton.iter(coded)]
        if not found:
            return []
        found.sort()
        spans = find_word_spans(caption)
        free = 0  # the first word after the previous mention
        for first, last, _ in found:
            if first < free:
                found = _keep_longest(found, spans)
                break
            free = last + 1
        return [Tag(name, 1.0, "caption", spans[first][0], spans[last][1]) for first, last, name in found]


def _keep_longest(found: list[tuple[int, int, str]], spans: list[tuple[int, int]]) -> list[tuple[int, int, str]]:
    """Returns the matches (first word, last word, name) that stay where some overlap.

    `spans` are the words' spans in the caption.
    """
    ranked = sorted((spans[first][0] - spans[last][1], first, last, name) for first, last, name in found)
    taken = bytearray(len(spans))
    chosen = []
    for _, first, last, name in ranked:
        if taken.find(1, first, last + 1) < 0:
            taken[first : last + 1] = b"\1" * (last + 1 - first)
            chosen.append((first, last, name))
    return sorted(chosen)


def build_caption_patterns(names: Sequence[str]) -> dict[tuple[str, ...], str]:
    """Returns the name of each entry by its words, and by its words with the last one in the plural."""
    patterns = {tuple(split_words(name)): name for name in names}
    for entry, name in list(patterns.items()):
        for plural in _inflect_plurals(entry[-1]):
            patterns.setdefault((*entry[:-1], *split_words(plural)), name)
    return patterns


def _inflect_plurals(word: str) -> tuple[str, ...]:
    if not (word.isascii() and word.isalpha()):
        return ()
    return (*lemminflect.getInflection(word, "NNS"), *_PLURALS.get(word, ()))


def _build_automaton(patterns: dict[tuple[str, ...], str]) -> tuple[dict[str, str], ahocorasick.Automaton]:
    """Returns a code of two characters for each word, and the automaton whose matches are (length in words, name).

    Codes have two characters because pyahocorasick searches the children of a node linearly, and thousands of words
    begin a pattern: with one symbol for each word it is twelve times slower. No first character is also a second one,
    so no match begins within a word.
    """
    codes: dict[str, str] = {}
    automaton = ahocorasick.Automaton()
    for words, name in patterns.items():
        for word in words:
            high, low = divmod(len(codes), 64)
            codes.setdefault(word, chr(100 + high) + chr(1 + low))
        automaton.add_word("".join(codes[word] for word in words), (len(words), name))
    automaton.make_automaton()
    return codes, automaton
