"""Splits a caption into words with their places, and holds the English words that say how it mentions a thing."""

import re
from dataclasses import dataclass
from functools import lru_cache

import lemminflect

from curation.engines.tags.vocabulary import find_word_spans, split_words


def list_words(text: str) -> list[str]:
    """Returns the words of a constant, which white space separates."""
    return re.findall(r"\S+", text)


_UNITS = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
_NUMBERS = {word: number for number, word in enumerate(list_words(f"{_UNITS} eighteen nineteen"), 1)}
_TENS = {word: 10 * number for number, word in enumerate(list_words("twenty thirty forty fifty sixty"), 2)}
_MAX_COUNT = 69  # a larger number in a caption is a year, a model or a price more often than a count

_PART_BEFORE = re.compile(r"[-–.,:/#$€£+×]")
_PART_AFTER = re.compile(r"[-–/:%°×]|[.,]\d")

NEGATIONS = frozenset(
    list_words("no not without never none neither nor cannot missing absent isn aren wasn weren doesn don")
)
COMPARISONS = frozenset(list_words("like resembling resembles than except instead"))
VAGUE = frozenset(list_words("about around approximately roughly nearly almost over under least most than top or"))
DEFINITE = frozenset(list_words("the these those both his her its their all"))
DETERMINERS = DEFINITE | frozenset(
    list_words("a an this that my your our another each every some any several many few")
)

_SAME_PLURALS = frozenset(["people", "fish", "deer"])  # of which lemminflect knows other plurals as well
_AFTER_NOUN = frozenset(
    list_words("""
    a an the this that these those which who whom whose what where when while as than then there here it its they he she
    in on at of to by for from with without into onto near next behind beside besides between under below above over
    across along around against among through toward towards up down out off inside outside outdoors indoors right back
    and or but nor so is are was were be been has have had can will would may might must do does did not also each both
    all one two three four five very well still just only too alone together today white black red blue green home
    """)
)


@dataclass(frozen=True, slots=True)
class Words:
    """Holds a caption's words in one spelling, punctuation included, with the span of each in the caption."""

    caption: str
    words: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]

    def get_gap(self, number: int) -> str:
        """Returns the text between a word and the next one; a full stop where the caption begins or ends."""
        if not 0 <= number < len(self.words) - 1:
            return "."
        return self.caption[self.spans[number][1] : self.spans[number + 1][0]]

    def list_before(self, number: int, most: int) -> list[str]:
        """Returns up to `most` words before a word, the nearest first, of the same clause."""
        found = []
        for word in reversed(self.words[max(0, number - most) : number]):
            if not word[0].isalnum():
                break
            found.append(word)
        return found

    def parse_number(self, number: int) -> int | None:
        """Returns the count that a word states: a numeral of any script, or an English number word up to sixty-nine.

        Parts of other numbers ("1,200", "2-3", "#4") are none.
        """
        word, (start, end) = self.words[number], self.spans[number]
        tens = _TENS.get(self.words[number - 1], 0) if number and self.get_gap(number - 1) == "-" else 0
        if (not tens and _PART_BEFORE.search(self.caption, max(0, start - 1), start)) or _PART_AFTER.match(
            self.caption, end
        ):
            return None
        if word.isdecimal():
            return int(word) if len(word) <= 2 and int(word) <= _MAX_COUNT else None
        return tens + _NUMBERS[word] if word in _NUMBERS else _TENS.get(word)


def read_words(caption: str) -> Words:
    """Splits a caption into words."""
    return Words(caption, tuple(split_words(caption)), tuple(find_word_spans(caption)))


@lru_cache(1 << 16)
def is_adjective(word: str) -> bool:
    """Returns whether an English word can be an adjective."""
    return "ADJ" in lemminflect.getAllLemmas(word)


@lru_cache(1 << 16)
def is_plural(word: str) -> bool:
    """Returns whether an English noun can mean several things: "dogs", "sheep", "people"."""
    if word in _SAME_PLURALS or set(lemminflect.getInflection(word, "NNS")) == {word}:
        return True
    return any(lemma != word for lemma in lemminflect.getAllLemmas(word, upos="NOUN").get("NOUN", ()))


@lru_cache(1 << 16)
def is_head_noun(word: str) -> bool:
    """Returns whether a noun before this word stands for itself: "dog runs", "dog on", not "dog bowl"."""
    if word in _AFTER_NOUN or not word.isalpha():
        return True
    readings = lemminflect.getAllLemmas(word)
    if "NOUN" not in readings:
        return True
    return any(lemma != word for lemma in readings.get("VERB", ()))


def contains_words(words: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    """Returns whether `wanted` are consecutive words of `words`."""
    return any(words[start : start + len(wanted)] == wanted for start in range(len(words) - len(wanted) + 1))
