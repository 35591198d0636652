"""Computes the ordinary character and word error rates of OCR by jiwer, beside those of `text`, which know no order.

The lines of the truth, in its order, and the lines read, in the engine's, each become one text with single spaces, and
a space is a character. So a line that is read too early or too late costs its length twice, and an engine whose order
of reading is not the truth's has higher rates than it has errors. Only truths with all text of a picture are compared.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.util import find_spec

from curation.scores.text import ErrorCounts, TextScores, drop_ignored_lines, score_texts
from schemas.records.ground_truth import TextTruth
from schemas.records.text_line import TextLine

OrderedCounts = tuple[str, ErrorCounts | None]
"""The name of a picture's collection, and its errors; None where they can't be counted."""


def count_ordinary_errors(truth: TextTruth, lines: Iterable[TextLine]) -> ErrorCounts | None:
    """Counts the errors of one picture; None if its truth is not complete, or jiwer is not installed."""
    if truth.boxes_only or not truth.complete or find_spec("jiwer") is None:
        return None
    ignore_case, spaces = truth.case_insensitive or truth.collection.ignore_case, truth.collection.spaces
    found = [line.text for line in drop_ignored_lines(lines, truth.illegible_boxes)]
    return count_edits(*(_join(each, ignore_case, spaces) for each in (truth.texts, found)))


def count_edits(truth: str, found: str) -> ErrorCounts:
    """Counts the edits between two texts, in characters and in words, as jiwer does."""
    import jiwer

    if not truth:  # jiwer has no rate of nothing
        return ErrorCounts(0, len(found), 0, len(found.split()))
    by_character, by_word = jiwer.process_characters(truth, found), jiwer.process_words(truth, found)
    errors = [one.substitutions + one.deletions + one.insertions for one in (by_character, by_word)]
    sizes = [one.hits + one.substitutions + one.deletions for one in (by_character, by_word)]
    return ErrorCounts(sizes[0], errors[0], sizes[1], errors[1])


def _join(lines: Iterable[str], ignore_case: bool, spaces: bool) -> str:
    words = [unicodedata.normalize("NFC", line.casefold() if ignore_case else line).split() for line in lines]
    return " ".join(" ".join(line) if spaces else "".join(line) for line in words if line)


def add_ordinary_rates(scores: TextScores, pictures: Sequence[OrderedCounts]) -> TextScores:
    """Returns the scores with the ordinary rates of each collection and of all pictures that have them."""
    counted = [(source, counts) for source, counts in pictures if counts is not None]
    if not counted:
        return scores
    ordinary = score_texts(counted)
    found = {one.source: one for one in (*ordinary.sources, ordinary.total)}
    sources = [
        replace(one, ordinary_cer=found[one.source].cer, ordinary_wer=found[one.source].wer)
        if one.source in found
        else one
        for one in scores.sources
    ]
    total = replace(scores.total, ordinary_cer=ordinary.total.cer, ordinary_wer=ordinary.total.wer)
    return replace(scores, sources=sources, total=total)
