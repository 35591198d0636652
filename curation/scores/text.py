"""Computes character and word error rates of OCR, mostly without penalising a different order or division of lines.

Texts are compared in Unicode form NFC; a run of white space separates words and is not a character. There are three
measures:

- `count_page_errors`: the truth is complete. The words of the truth and of the reading are two multisets. Equal words
  are paired off; the remaining words are paired greedily, most alike first (edit distance over the longer length). The
  characters in error are the edit distances of the pairs plus the lengths of the unpaired words. The words in error are
  the greater of the two numbers of remaining words. So one wrong letter costs one character and one word, a missed or
  an invented word costs its letters and one word, and the rates of an empty reading are exactly 1.
- `count_asserted_errors`: only some lines of the truth are known. Each is searched for anywhere in the reading: its
  characters in error are the least edit distance to any substring of the reading (Sellers, 1980), its words in error
  those that the reading lacks. Other text in the reading costs nothing.

- `count_ordered_errors`: the truth is complete and in reading order. The errors are the edit distance of the texts, in
  characters and in words, so that a line that is read too early or too late costs its length twice.

`count_picture_errors` takes the first or the second, as the truth allows. Counts add up (`+`), so a rate over many
pictures is a ratio of sums, not a mean of rates.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

import numpy as np
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cdist

from curation.scores.bootstrap import UNKNOWN, Estimate, Floats, divide, draw_resamples, estimate
from schemas.records.box import Box
from schemas.records.ground_truth import TextTruth
from schemas.records.text_line import TextLine


@dataclass(frozen=True, slots=True)
class ErrorCounts:
    """Counts the characters and words of the truth, and how many of them are in error (invented text can make it more).

    `places` are boxes of text whose content the truth does not give; a place is found if its centre lies in a read
    line.
    """

    characters: int = 0
    character_errors: int = 0
    words: int = 0
    word_errors: int = 0
    places: int = 0
    places_found: int = 0

    def __add__(self, other: "ErrorCounts") -> "ErrorCounts":
        return ErrorCounts(
            self.characters + other.characters,
            self.character_errors + other.character_errors,
            self.words + other.words,
            self.word_errors + other.word_errors,
            self.places + other.places,
            self.places_found + other.places_found,
        )

    @property
    def cer(self) -> float:
        """Returns the character error rate, 0 or more; nan where the truth has no text."""
        return self.character_errors / self.characters if self.characters else float("nan")

    @property
    def wer(self) -> float:
        """Returns the word error rate, 0 or more; nan where the truth has no text."""
        return self.word_errors / self.words if self.words else float("nan")


@dataclass(frozen=True, slots=True)
class TextScore:
    """Holds the figures of one collection of pictures, or of all pictures."""

    source: str
    images: int
    counts: ErrorCounts
    cer: Estimate
    wer: Estimate
    places_found: Estimate  # share
    ordinary_cer: Estimate = UNKNOWN  # in reading order, which `ordered_text` adds
    ordinary_wer: Estimate = UNKNOWN


@dataclass(frozen=True, slots=True)
class TextScores:
    """Holds the figures of an evaluation, with the collections in alphabetical order."""

    sources: list[TextScore]
    total: TextScore


def count_picture_errors(truth: TextTruth, lines: Iterable[TextLine]) -> ErrorCounts:
    """Compares what was read in one picture with its truth, in the way that the truth allows."""
    lines = drop_ignored_lines(lines, truth.illegible_boxes)
    if truth.boxes_only:
        found = sum(any(has_centre_inside(line.box, place) for line in lines) for place in truth.legible_boxes)
        return ErrorCounts(places=len(truth.legible_boxes), places_found=found)
    texts = [line.text for line in lines]
    ignore_case = truth.case_insensitive or truth.collection.ignore_case
    if truth.complete:
        return count_page_errors(truth.texts, texts, ignore_case=ignore_case, spaces=truth.collection.spaces)
    return count_asserted_errors(truth.texts, texts, ignore_case=ignore_case)


def score_texts(pictures: Sequence[tuple[str, ErrorCounts]]) -> TextScores:
    """Computes all figures of pictures, each given with the name of its collection."""
    drawn = draw_resamples(len(pictures))
    sources = sorted({source for source, _ in pictures})
    places = {name: [at for at, (source, _) in enumerate(pictures) if source == name] for name in sources}
    counts = [errors for _, errors in pictures]
    scores = [_score_collection(name, counts, drawn, places[name]) for name in sources]
    return TextScores(scores, _score_collection("total", counts, drawn, list(range(len(pictures)))))


def _score_collection(source: str, counts: Sequence[ErrorCounts], drawn: Floats, places: list[int]) -> TextScore:
    columns = np.array([astuple(counts[at]) for at in places], np.float64).reshape(
        len(places), len(ErrorCounts.__slots__)
    )
    characters, character_errors, words, word_errors, boxes, boxes_found = (drawn[:, places] @ columns).T
    rates = ((character_errors, characters), (word_errors, words), (boxes_found, boxes))
    cer, wer, found = (estimate(divide(part, whole), len(places)) for part, whole in rates)
    total = sum((counts[at] for at in places), ErrorCounts())
    return TextScore(source, len(places), total, cer, wer, found)


def count_page_errors(
    truth: Iterable[str], found: Iterable[str], *, ignore_case: bool = False, spaces: bool = True
) -> ErrorCounts:
    """Compares a reading with the complete text of a picture; the order of lines does not matter.

    `spaces=False` is for truths that are written without spaces: each line then counts as one word.
    """
    true_words = Counter(split_words(truth, ignore_case, spaces))
    found_words = Counter(split_words(found, ignore_case, spaces))
    missed = sorted((true_words - found_words).elements())
    extra = sorted((found_words - true_words).elements())
    return ErrorCounts(
        characters=sum(map(len, true_words.elements())),
        character_errors=_count_character_errors(missed, extra),
        words=true_words.total(),
        word_errors=max(len(missed), len(extra)),
    )


def count_asserted_errors(truth: Iterable[str], found: Iterable[str], *, ignore_case: bool = False) -> ErrorCounts:
    """Searches for each line of the truth in a reading that may contain more; the rest of the reading costs nothing."""
    reading = " ".join(split_words(found, ignore_case, spaces=True))
    counts = ErrorCounts()
    for line in truth:
        words = split_words([line], ignore_case, spaces=True)
        missed = Counter(words) - Counter(reading.split())
        wanted, text = "".join(words), reading.replace(" ", "")
        counts += ErrorCounts(len(wanted), _compute_substring_distance(wanted, text), len(words), missed.total())
    return counts


def count_ordered_errors(
    truth: Iterable[str], found: Iterable[str], *, ignore_case: bool = False, spaces: bool = True
) -> ErrorCounts:
    """Compares a reading with the complete text of a picture, both in reading order. `spaces`: see above."""
    true_words, found_words = split_words(truth, ignore_case, spaces), split_words(found, ignore_case, spaces)
    text = "".join(true_words)
    return ErrorCounts(
        characters=len(text),
        character_errors=Levenshtein.distance(text, "".join(found_words)),
        words=len(true_words),
        word_errors=Levenshtein.distance(true_words, found_words),
    )


def drop_ignored_lines(lines: Iterable[TextLine], ignored: Sequence[Box]) -> list[TextLine]:
    """Returns the lines whose centre lies in no ignored box: text marked illegible may be read or not, at no cost."""

    return [line for line in lines if not any(has_centre_inside(box, line.box) for box in ignored)]


def has_centre_inside(outer: Box, inner: Box) -> bool:
    """Returns whether the inner box's centre lies in the outer one."""
    x, y = (inner[0] + inner[2]) / 2, (inner[1] + inner[3]) / 2
    return outer[0] <= x <= outer[2] and outer[1] <= y <= outer[3]


def split_words(lines: Iterable[str], ignore_case: bool, spaces: bool) -> list[str]:
    """Returns the words of all lines as they are compared; without `spaces`, each line as one word."""
    words = []
    for line in lines:
        text = unicodedata.normalize("NFC", line.casefold() if ignore_case else line)
        parts = text.split()
        words += parts if spaces or not parts else ["".join(parts)]
    return words


def _count_character_errors(missed: Sequence[str], extra: Sequence[str]) -> int:
    """Returns the cost of pairing two lists of words greedily, most alike first, plus the lengths of unpaired words."""
    if not missed or not extra:
        return sum(map(len, missed)) + sum(map(len, extra))
    distances = cdist(missed, extra, scorer=Levenshtein.distance, dtype=np.int32)
    longer = np.maximum.outer([len(word) for word in missed], [len(word) for word in extra])
    left, right = set(range(len(missed))), set(range(len(extra)))
    errors = 0
    for flat in np.argsort(distances / longer, axis=None, kind="stable"):
        i, j = divmod(int(flat), len(extra))
        if i in left and j in right:
            left.remove(i)
            right.remove(j)
            errors += int(distances[i, j])
    return errors + sum(len(missed[i]) for i in left) + sum(len(extra[j]) for j in right)


def _compute_substring_distance(wanted: str, text: str) -> int:
    """Returns the least edit distance (Sellers) from `wanted` to any substring of `text`, the empty one included."""
    best = list(range(len(wanted) + 1))  # best[i]: the distance of wanted[:i] to a substring that ends here
    least = best[-1]
    for character in text:
        diagonal, best[0] = best[0], 0
        for i, own in enumerate(wanted, 1):
            diagonal, best[i] = best[i], min(best[i] + 1, best[i - 1] + 1, diagonal + (own != character))
        least = min(least, best[-1])
    return least
