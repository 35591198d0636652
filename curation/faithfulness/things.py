"""Finds the things that a caption mentions, and which of the mentions claim that the image shows them.

A name matches as a tag does: whole words in any case, also in the plural, the longest of overlapping names first. A
mention is no claim if the caption denies the thing ("without a dog"), compares ("like a dog"), means another thing by
the word ("dog bowl", "dog-friendly", "the dog's owner", "an orange wall"), or quotes it.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from curation.engines.tags.runtime.caption import build_caption_patterns
from curation.engines.tags.vocabulary import read_vocabulary, split_words
from curation.faithfulness.words import (
    COMPARISONS,
    DEFINITE,
    DETERMINERS,
    NEGATIONS,
    VAGUE,
    Words,
    is_adjective,
    is_head_noun,
    is_plural,
)

Name = tuple[str, ...]
"""The words of a name, in one spelling."""

_MAX_ADJECTIVES = 3  # between a number and its thing: "two large old red cars"
_NEGATED_WITHIN, _COMPARED_WITHIN = 4, 3  # words before the mention


@dataclass(frozen=True, slots=True)
class ThingMention:
    """Holds a mention of a thing: the words from `first` to `last`, and the names that have this form.

    `count` is the number that the caption states, None without one. If `is_subset` is True, adjectives narrow the
    thing down ("two red cars"), so that the image may show more of them.
    """

    names: frozenset[Name]
    first: int
    last: int
    is_claim: bool
    is_definite: bool = False
    count: int | None = None
    count_word: int | None = None  # the place of the number among the words
    is_subset: bool = False


def find_things(words: Words, names: Collection[Name], quotes: Sequence[tuple[int, int]]) -> list[ThingMention]:
    """Returns the mentions of `names`, and of the entries of the vocabulary that ships, in the caption's order."""
    own = _index_forms(names)
    mentions = []
    for first, last, found in _match(words, own):
        start, end = words.spans[first][0], words.spans[last][1]
        if any(start < stop and begin < end for begin, stop in quotes):
            continue
        mention = ThingMention(found, first, last, _is_claim(words, first, last), _is_definite(words, first))
        mentions.append(_add_count(words, mention) if mention.is_claim else mention)
    return mentions


@lru_cache(1 << 14)
def list_forms(name: Name) -> frozenset[Name]:
    """Returns a name's words, and its words in the plural."""
    return frozenset(build_caption_patterns((" ".join(name),))) if name else frozenset()


def _index_forms(names: Collection[Name]) -> dict[Name, frozenset[Name]]:
    forms: dict[Name, set[Name]] = {}
    for name in names:
        for form in list_forms(name):
            forms.setdefault(form, set()).add(name)
    return {form: frozenset(found) for form, found in forms.items()}


@cache
def _index_vocabulary() -> tuple[Mapping[Name, Name], int]:
    """Returns the entry of each form in the vocabulary that ships, and the most words of a form."""
    patterns = build_caption_patterns(read_vocabulary().names)
    return {form: tuple(split_words(name)) for form, name in patterns.items()}, max(map(len, patterns))


def _match(words: Words, own: Mapping[Name, frozenset[Name]]) -> Iterator[tuple[int, int, frozenset[Name]]]:
    """Yields the first and the last word of each mention and its names, longest first where they overlap."""
    vocabulary, longest = _index_vocabulary()
    longest = max(longest, *map(len, own), 1)
    found = []
    for first in range(len(words.words)):
        for stop in range(first + 1, min(first + longest, len(words.words)) + 1):
            form = words.words[first:stop]
            if form in own or form in vocabulary:
                found.append((first - stop, first, own.get(form) or frozenset([vocabulary[form]])))
    taken = set[int]()
    chosen = []
    for minus_length, first, names in sorted(found, key=lambda each: each[:2]):
        places = range(first, first - minus_length)
        if taken.isdisjoint(places):
            taken.update(places)
            chosen.append((first, first - minus_length - 1, names))
    yield from sorted(chosen, key=lambda each: each[:2])


def _is_claim(words: Words, first: int, last: int) -> bool:
    before = words.list_before(first, _NEGATED_WITHIN)
    if not NEGATIONS.isdisjoint(before) or not COMPARISONS.isdisjoint(before[:_COMPARED_WITHIN]):
        return False
    if not words.get_gap(first - 1)[-1:].isspace() and first and words.words[first - 1].isalnum():
        return False  # part of a compound with a hyphen
    after = words.get_gap(last)
    if after and not after.isspace() and words.words[last + 1 : last + 2] != () and words.words[last + 1].isalnum():
        return False  # a compound, or a possessive
    word = words.words[last]
    if is_plural(word) or not word.isascii():
        return True
    if after.isspace() and not is_head_noun(words.words[last + 1]):
        return False
    return first != last or not is_adjective(word) or not DETERMINERS.isdisjoint(before[:2])


def _is_definite(words: Words, first: int) -> bool:
    return not DEFINITE.isdisjoint(words.list_before(first, 3))


def _add_count(words: Words, mention: ThingMention) -> ThingMention:
    """Returns the mention with the number before it, if that is an exact one."""
    place = mention.first - 1
    while (
        place >= 0
        and mention.first - place <= _MAX_ADJECTIVES
        and words.get_gap(place).isspace()
        and words.parse_number(place) is None
        and is_adjective(words.words[place])
    ):
        place -= 1
    if place < 0 or not words.get_gap(place).isspace() or (count := words.parse_number(place)) is None:
        return mention
    if count != 1 and not is_plural(words.words[mention.last]):
        return mention  # "a Boeing 47 airplane"
    before = words.list_before(place, 2)
    if not VAGUE.isdisjoint(before[:1]) or before == ["to", "up"]:
        return mention
    first = place - 1 if words.get_gap(place - 1) == "-" else place  # twenty-one
    return ThingMention(
        mention.names,
        mention.first,
        mention.last,
        is_claim=True,
        is_definite=mention.is_definite,
        count=count,
        count_word=first,
        is_subset=place != mention.first - 1,
    )
