"""Estimates the difference between two recipes from models of several seeds that answer the same questions.

d[s, q] is how far the second recipe's model of seed s is above the first's on question q. Seeds and questions are both
drawn from many: another seed or another test set would give another difference. So d[s, q] = effect + seed[s] +
question[q] + rest[s, q], where all but the effect are random. The analysis is that of readers and cases in radiology
(Dorfman, Berbaum and Metz, 1992, in Hillis' form of 2007), of which seeds and questions are the two:

    variance of the mean = (MS(seeds) + max(MS(questions) - MS(rest), 0)) / (seeds x questions)

The interval is Student's t around the mean. Its degrees of freedom are the harmonic mean of those of the two parts,
seeds - 1 and questions - 1, each weighted by its share of the variance. Hillis' own (after Satterthwaite) square the
shares, and with 3 seeds such intervals held the truth in 92.6 % of simulated comparisons only, where questions added a
third of the seeds' variance. These held it in 93.5 % to 96.8 % of 1,000 in each of 12 settings of 3 seeds and more, and
in 90 % to 96 % with 2 seeds (`tests/curation/scores/test_seed_effects.py`).
"""

from dataclasses import dataclass

import numpy as np

from curation.scores.bootstrap import CONFIDENCE, Floats
from curation.scores.power import compute_detectable
from curation.scores.student_t import compute_t_quantile


@dataclass(frozen=True, slots=True)
class SeedEffect:
    """Holds a difference with its 95 % interval. All but the value are None where nothing varies, or too little is."""

    value: float | None
    low: float | None = None
    high: float | None = None
    detectable: float | None = None
    """The smallest true difference that a comparison of this design and noise would find in 80 % of cases: outside of
    its interval is zero (`curation.scores.power`)."""
    freedom: float | None = None
    seed_share: float | None = None
    """The part of the variance, 0 to 1, that more seeds would reduce; more questions reduce the rest."""

    @property
    def is_found(self) -> bool:
        """Returns whether zero is outside of the interval."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


@dataclass(frozen=True, slots=True)
class SeedEffects:
    """Holds the same of many comparisons, an array each; nan where there is no interval."""

    value: Floats
    half_width: Floats
    detectable: Floats
    freedom: Floats
    seed_share: Floats


def estimate_effect(differences: Floats) -> SeedEffect:
    """Estimates the effect from differences [seeds, questions], nan where a figure has no value."""
    found = estimate_effects(differences[None])
    value, half = float(found.value[0]), float(found.half_width[0])
    if np.isnan(value):
        return SeedEffect(None)
    if np.isnan(half):
        return SeedEffect(value)
    return SeedEffect(
        value=value,
        low=value - half,
        high=value + half,
        detectable=float(found.detectable[0]),
        freedom=float(found.freedom[0]),
        seed_share=float(found.seed_share[0]),
    )


def estimate_effects(differences: Floats) -> SeedEffects:
    """Estimates the effects of many comparisons from their differences [comparisons, seeds, questions]."""
    count, seeds, questions = differences.shape
    value = differences.mean(axis=(1, 2)) if seeds and questions else np.full(count, np.nan)
    if seeds < 2 or questions < 2:
        none = np.full(count, np.nan)
        return SeedEffects(value, none, none, none, none)
    by_seed = differences.mean(axis=2) - value[:, None]
    by_question = differences.mean(axis=1) - value[:, None]
    rest = differences - value[:, None, None] - by_seed[:, :, None] - by_question[:, None, :]
    of_seeds = questions * (by_seed**2).sum(axis=1) / (seeds - 1)
    of_questions = seeds * (by_question**2).sum(axis=1) / (questions - 1)
    of_rest = (rest**2).sum(axis=(1, 2)) / ((seeds - 1) * (questions - 1))
    total = of_seeds + np.maximum(of_questions - of_rest, 0)
    total = np.where(total > _ROUNDING * np.maximum((differences**2).mean(axis=(1, 2)), 1e-300), total, np.nan)
    share = of_seeds / total
    freedom = 1 / (share / (seeds - 1) + (1 - share) / (questions - 1))
    error = np.sqrt(total / (seeds * questions))
    tail = (1 + CONFIDENCE) / 2
    known = np.where(np.isnan(freedom), 1.0, freedom)
    detectable = compute_detectable(known) * error
    return SeedEffects(value, compute_t_quantile(tail, known) * error, detectable, freedom, share)


_ROUNDING = 1e-18
"""A variance below this part of the squared differences is that of rounding: nothing varies."""
