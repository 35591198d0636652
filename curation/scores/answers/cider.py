"""Computes CIDEr-D as `cider_scorer.py` of pycocoevalcap 1.2 does, from words as `ptb.py` makes them.

CIDEr-D (Vedantam et al., 2015) is the mean cosine similarity of TF-IDF vectors of 1- to 4-grams between a caption and
each of its references, with counts clipped to the reference's, under a Gaussian penalty for a difference in length,
times 10. Document frequencies are those of all references of the data set, so a score depends on the other questions.
In a bootstrap they stay those of the whole set.
"""

import math
from collections import Counter
from collections.abc import Sequence

from curation.scores.answers.metric import Counts, Group, Metric, add_counts
from curation.scores.answers.ptb import split_caption
from curation.scores.bootstrap import divide

ORDERS = range(1, 5)
SIGMA = 6.0  # of the penalty, in words
SCALE = 10.0

NGrams = Counter[tuple[str, ...]]


class CiderScorer:
    """Scores captions against the references of a data set."""

    def __init__(self, references: Sequence[Sequence[NGrams]]) -> None:
        """Takes the references of each image of the set."""
        self._log_images = math.log(len(references)) if references else 0.0
        self._frequencies = Counter(ngram for one in references for ngram in {n for counts in one for n in counts})

    def score(self, caption: NGrams, references: Sequence[NGrams]) -> float:
        """Returns the CIDEr-D of one caption, 0 to 10."""
        vector = self._weigh(caption)
        total = sum(_compare(vector, self._weigh(reference)) for reference in references)
        return SCALE * total / len(ORDERS) / len(references)

    def _weigh(self, counts: NGrams) -> "_Vector":
        weights: list[dict[tuple[str, ...], float]] = [{} for _ in ORDERS]
        for ngram, count in counts.items():
            rarity = self._log_images - math.log(max(1, self._frequencies[ngram]))
            weights[len(ngram) - 1][ngram] = count * rarity
        norms = [math.sqrt(sum(weight * weight for weight in one.values())) for one in weights]
        # pycocoevalcap counts the bigrams: one less than the words
        length = sum(count for ngram, count in counts.items() if len(ngram) == 2)
        return _Vector(weights, norms, length)


class _Vector:
    """Holds the weights of a caption's n-grams and their norms, by order, and the caption's number of bigrams."""

    __slots__ = ("length", "norms", "weights")

    def __init__(self, weights: list[dict[tuple[str, ...], float]], norms: list[float], length: int) -> None:
        self.weights, self.norms, self.length = weights, norms, length


def _compare(caption: _Vector, reference: _Vector) -> float:
    """Returns the sum over the orders of the clipped, penalised cosine similarity."""
    penalty = math.exp(-((caption.length - reference.length) ** 2) / (2 * SIGMA**2))
    total = 0.0
    for place in range(len(ORDERS)):
        own, other = caption.weights[place], reference.weights[place]
        product = sum(min(weight, other.get(ngram, 0.0)) * other.get(ngram, 0.0) for ngram, weight in own.items())
        norm = caption.norms[place] * reference.norms[place]
        total += product / norm if norm else product
    return total * penalty


def count_ngrams(words: Sequence[str]) -> NGrams:
    """Counts the 1- to 4-grams."""
    return Counter(tuple(words[start : start + order]) for order in ORDERS for start in range(len(words) - order + 1))


def count_cider(groups: Sequence[Group]) -> list[Counts]:
    """Returns the sum of scores and the number of captions of each group."""
    references = {
        question.id: [count_ngrams(split_caption(answer)) for answer in question.answers]
        for group in groups
        for question in group
    }
    scorer = CiderScorer(list(references.values()))
    return [
        add_counts(
            {
                "score": scorer.score(count_ngrams(split_caption(question.prediction)), references[question.id]),
                "questions": 1,
            }
            for question in group
        )
        for group in groups
    ]


CIDER = Metric("cider", count_cider, {"cider": lambda sums: divide(sums["score"], sums["questions"])})
