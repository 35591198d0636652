"""Scores short texts: exact match, ANLS, relaxed accuracy, and character and word error rates.

A prediction is compared with each right answer, and the best one counts.
"""

import unicodedata

from rapidfuzz.distance import Levenshtein

from curation.scores.answers.metric import AnsweredQuestion, Counts, Metric, count_each, make_mean
from curation.scores.bootstrap import divide

ANLS_THRESHOLD = 0.5  # of the similarity; below it, an answer is wrong rather than misspelt
RELAXED_CHANGE = 0.05  # of a number, relative to the right one


def score_exact_match(question: AnsweredQuestion) -> float:
    """Returns 1 if the prediction equals an answer, but for case, white space and a period at its end; else 0."""
    return float(_normalise(question.prediction) in map(_normalise, question.answers))


def _normalise(text: str) -> str:
    folded = " ".join(unicodedata.normalize("NFC", text).casefold().split())
    return folded.removesuffix(".").rstrip() or folded  # a period alone is not the answer of one who gave none


def score_anls(question: AnsweredQuestion) -> float:
    """Returns the normalised Levenshtein similarity of DocVQA (Biten et al., 2019); 0 where it is under 0.5.

    As in the script of the Robust Reading Competition: the distance is that of the texts in lower case with single
    spaces, and is divided by the length of the longer text as it was given.
    """
    similarity = max(_compute_similarity(answer, question.prediction) for answer in question.answers)
    return similarity if similarity >= ANLS_THRESHOLD else 0.0


def _compute_similarity(answer: str, prediction: str) -> float:
    longer = max(len(answer.upper()), len(prediction.upper()))  # "ß" is longer in upper case
    distance = Levenshtein.distance(*(" ".join(text.lower().split()) for text in (answer, prediction)))
    return 1 - distance / longer if longer else 1.0


def score_relaxed(question: AnsweredQuestion) -> float:
    """Returns 1 if the prediction is within 5 % of a right number, or equals a right text but for case; else 0.

    As ChartQA's metric in pix2struct: `12%` is the number 0.12, and a right number of 0 must be written alike.
    """
    return float(any(_is_close(answer.strip(), question.prediction.strip()) for answer in question.answers))


def _is_close(answer: str, prediction: str) -> bool:
    right, given = _parse_number(answer), _parse_number(prediction)
    if right and given is not None:
        return abs(given - right) / abs(right) <= RELAXED_CHANGE
    return prediction.lower() == answer.lower()


def _parse_number(text: str) -> float | None:
    try:
        return float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None


def count_errors(question: AnsweredQuestion) -> Counts:
    """Counts the edits from the answer that takes the fewest, in characters and in words, and its size in both.

    White space is left out at the ends, counts as characters elsewhere, and separates words. So the rates are jiwer's,
    whose defaults these are.
    """
    given = question.prediction.strip()
    answers = [answer.strip() for answer in question.answers]
    right = min(answers, key=lambda answer: (Levenshtein.distance(answer, given), answer))
    return {
        "character_errors": Levenshtein.distance(right, given),
        "characters": len(right),
        "word_errors": Levenshtein.distance(right.split(), given.split()),
        "words": len(right.split()),
    }


EXACT_MATCH = make_mean("exact_match", score_exact_match)
ANLS = make_mean("anls", score_anls)
RELAXED_ACCURACY = make_mean("relaxed_accuracy", score_relaxed)
ERROR_RATES = Metric(
    "error_rates",
    count_each(count_errors),
    {
        "cer": lambda sums: divide(sums["character_errors"], sums["characters"]),
        "wer": lambda sums: divide(sums["word_errors"], sums["words"]),
    },
)
