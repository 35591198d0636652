"""Tags by caption: the mentions of a vocabulary's entries in the alt text, as GRIT takes its noun phrases.

Aho-Corasick over words, not characters: no mention is part of another word, and a span can't be shifted by folding
letter case. Lemmas are brought in from the other side: `lemminflect`'s plurals of each entry go into the automaton, so
that a caption costs look-ups only and no word of it has to be guessed at. An entry wins over another one's plural:
"glasses" over "glass". Of mentions that overlap the longest counts: "car park attendant" in "red car park attendant".

What is mentioned need not be seen: "no dogs allowed" mentions dogs, "Robin" a bird, "orange dress" a fruit. The boxes
tell. Entries in scripts without spaces are found within longer words, for nothing there says where those end; kana and
ideographs only, Thai and its neighbours are matched by whole runs.
"""

from collections.abc import Sequence
from importlib.metadata import version
from itertools import repeat

import ahocorasick
import lemminflect

from curation.engines.tags.caption_settings import CaptionTagSettings
from curation.engines.tags.vocabulary import read_vocabulary, split_words, word_spans
from curation.images.decode import RgbImage
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.tag import Tag

_OTHER_WORDS = repeat("\0\0")  # the code of all words that are in no tag
_PLURALS = {"person": ("people",), "ox": ("oxen",)}  # that lemminflect lacks


class CaptionTags:
    """A `TagEngine` that reads the alt text and no pixel; any text has tags or none, never an error."""

    def __init__(self, settings: CaptionTagSettings | None = None) -> None:
        """Reads the vocabulary. Raises `UsageError` for one that can't be used."""
        self.settings = settings or CaptionTagSettings()
        self.vocabulary = read_vocabulary(self.settings.vocabulary)
        self.fingerprint = EngineFingerprint(
            name="caption",
            version=f"pyahocorasick {version('pyahocorasick')}, lemminflect {version('lemminflect')}",
            weights_sha256=self.vocabulary.sha256,
            settings=self.settings.model_dump(exclude={"vocabulary"}),  # where it lies is no part of what it is
        )
        self._codes, self._automaton = _automaton(caption_patterns(self.vocabulary.names))

    def annotate(self, images: Sequence[RgbImage], captions: Sequence[str]) -> list[list[Tag]]:
        """The mentions in each caption, in its order.

        Of those that overlap the one of most characters counts, then the first, as in `captions.mentions`.
        """
        return [self.mentions(caption) for caption in captions]

    def mentions(self, caption: str) -> list[Tag]:
        """The mentions in one caption; `caption[start:end]` is a mention as it is written there."""
        coded = "".join(map(self._codes.get, split_words(caption), _OTHER_WORDS))
        found = [(last // 2 - length + 1, last // 2, name) for last, (length, name) in self._automaton.iter(coded)]
        if not found:
            return []
        found.sort()
        spans = word_spans(caption)
        free = 0  # the first word that no mention has taken
        for first, last, _ in found:
            if first < free:
                found = _longest(found, spans)
                break
            free = last + 1
        return [Tag(name, 1.0, "caption", spans[first][0], spans[last][1]) for first, last, name in found]


def _longest(found: list[tuple[int, int, str]], spans: list[tuple[int, int]]) -> list[tuple[int, int, str]]:
    """Those of (first word, last word, name) that stay where some overlap; words are at these spans of the caption."""
    ranked = sorted((spans[first][0] - spans[last][1], first, last, name) for first, last, name in found)
    taken = bytearray(len(spans))
    chosen = []
    for _, first, last, name in ranked:
        if taken.find(1, first, last + 1) < 0:
            taken[first : last + 1] = b"\1" * (last + 1 - first)
            chosen.append((first, last, name))
    return sorted(chosen)


def caption_patterns(names: Sequence[str]) -> dict[tuple[str, ...], str]:
    """The words of each entry, and with its last one in the plural, and the entry's name."""
    patterns = {tuple(split_words(name)): name for name in names}
    for entry, name in list(patterns.items()):
        for plural in _plurals(entry[-1]):
            patterns.setdefault((*entry[:-1], *split_words(plural)), name)
    return patterns


def _plurals(word: str) -> tuple[str, ...]:
    if not (word.isascii() and word.isalpha()):
        return ()
    return (*lemminflect.getInflection(word, "NNS"), *_PLURALS.get(word, ()))


def _automaton(patterns: dict[tuple[str, ...], str]) -> tuple[dict[str, str], ahocorasick.Automaton]:
    """Two characters for each word, and the automaton over these that gives a pattern's length in words and its name.

    Two, since pyahocorasick goes through the children of a node one by one, and thousands of words begin a pattern: one
    symbol a word is twelve times slower. The first and the second are never alike, so no match begins within a word.
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
