"""Finds which lines of a truth were read, and which lines of a reading the truth does not have.

It looks at words as `curation.scores.text` counts them: the words of the truth and of the reading are two multisets,
and equal words are paired off. Where the truth only has places of text, a place is found if its centre lies in a line.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from curation.scores.text import drop_ignored_lines, has_centre_inside, split_words
from schemas.records.ground_truth import TextTruth
from schemas.records.text_line import TextLine


@dataclass(frozen=True, slots=True)
class TextMatches:
    """Holds what became of each item of a truth, and of each line of a reading, in their orders."""

    missed: tuple[str | None, ...]
    """The words that were not read, or a note for a place; empty if all was read, None for an illegible item."""
    invented: tuple[str, ...]
    """The words that the truth lacks, or a note for a line without a place; empty where nothing can be said."""


def match_texts(truth: TextTruth, lines: Sequence[TextLine]) -> TextMatches:
    """Compares the lines that were read in a picture with its truth."""
    return _match_places(truth, lines) if truth.boxes_only else _match_words(truth, lines)


def _match_places(truth: TextTruth, lines: Sequence[TextLine]) -> TextMatches:
    missed: list[str | None] = []
    for item, place in truth.placed_items:
        is_found = place is not None and any(has_centre_inside(line.box, place) for line in lines)
        missed.append(None if item.ignore or place is None else "" if is_found else "no line")
    places = [place for _, place in truth.placed_items if place is not None]
    invented = [not any(has_centre_inside(line.box, place) for place in places) for line in lines]
    return TextMatches(tuple(missed), tuple("no text there" if one and truth.complete else "" for one in invented))


def _match_words(truth: TextTruth, lines: Sequence[TextLine]) -> TextMatches:
    ignore_case = truth.case_insensitive or truth.collection.ignore_case
    spaces = truth.collection.spaces or not truth.complete
    counted = drop_ignored_lines(lines, truth.illegible_boxes)
    read = Counter(split_words([line.text for line in counted], ignore_case, spaces))
    true = Counter(split_words(truth.texts, ignore_case, spaces))
    missed: list[str | None] = []
    for item in truth.items:
        if item.ignore or item.text is None:
            missed.append(None)
        else:
            missed.append(_take_words(read, split_words([item.text], ignore_case, spaces)))
    invented = []
    for line in lines:
        is_judged = truth.complete and line in counted
        invented.append(_take_words(true, split_words([line.text], ignore_case, spaces)) if is_judged else "")
    return TextMatches(tuple(missed), tuple(invented))


def _take_words(left: Counter[str], words: Sequence[str]) -> str:
    """Takes the words out of those that are left, and returns the others."""
    others = []
    for word in words:
        if left[word]:
            left[word] -= 1
        else:
            others.append(word)
    return " ".join(others)
