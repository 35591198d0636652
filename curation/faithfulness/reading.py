"""Compares quoted words with the lines that OCR read, within an edit distance."""

import re
from collections.abc import Sequence

from rapidfuzz.distance import Levenshtein

from curation.engines.tags.vocabulary import split_words

# Scripts without spaces between words that `split_words` takes in whole runs: Thai, Lao, Burmese, Khmer.
_RUNS = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")

CHARACTERS_AN_ERROR = 4
"""A word may differ in one character of so many, so a word of three must be equal: another such word is too near."""

CHARACTERS_AN_ERROR_IN_ALL = 6
"""A quotation may differ in one character of so many, white space aside, where its words were divided otherwise."""

MAX_ERRORS_IN_ALL = 2
"""Such a quotation may differ in so many at most: with more, one of its words could be a wrong one."""

_MIN_INSIDE = 6  # characters of a quotation that may be part of a longer word, because OCR often joins words


def split_letters(text: str) -> list[str]:
    """Returns the words of a text in one spelling, without punctuation; characters of unspaced scripts stand alone."""
    words = [word for word in split_words(text) if any(map(str.isalnum, word))]
    return [part for word in words for part in (word if _RUNS.search(word) else (word,))]


def is_read(quoted: Sequence[str], reading: Sequence[str]) -> bool:
    """Returns whether a reading has these words. Both are as `split_letters` returns them, lines in reading order.

    It has them if each word is near one of the reading's words, or if all of them, written as one word, are near some
    consecutive words that are written likewise.
    """
    whole = "".join(quoted)
    if len(whole) >= _MIN_INSIDE and whole in "".join(reading):
        return True
    if all(len(word) > 1 or word.isascii() for word in quoted) and all(
        _has_near_word(word, reading) for word in quoted
    ):
        return True
    return _has_near_words(whole, reading)


def _has_near_word(word: str, reading: Sequence[str]) -> bool:
    return any(_is_near(word, other, len(word) // CHARACTERS_AN_ERROR) for other in reading)


def _has_near_words(whole: str, reading: Sequence[str]) -> bool:
    """Returns whether some consecutive words of the reading, written as one, are near `whole`."""
    errors = min(len(whole) // CHARACTERS_AN_ERROR_IN_ALL, MAX_ERRORS_IN_ALL)
    for start in range(len(reading)):
        joined = ""
        for word in reading[start:]:
            joined += word
            if len(joined) > len(whole) + errors:
                break
            if _is_near(whole, joined, errors):
                return True
    return False


def _is_near(one: str, other: str, errors: int) -> bool:
    """Returns whether two words differ in at most so many characters, and in no digit if both have digits."""
    if abs(len(one) - len(other)) > errors:
        return False
    digits, other_digits = ("".join(filter(str.isdigit, word)) for word in (one, other))
    if digits != other_digits and digits and other_digits:
        return False
    return Levenshtein.distance(one, other, score_cutoff=errors) <= errors
