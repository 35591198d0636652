"""Computes 95% confidence intervals of measured rates by the percentile bootstrap over images or questions.

Each draw takes as many images as there are, with replacement, and the rate is computed again from it. Images are drawn
whole, because what is in one picture, and how well it is recognised, is correlated. The draws are seeded: the same
counts give the same interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 1000  # with so many, the ends of the interval differ by about a thousandth between seeds
SEED = 0
CONFIDENCE = 0.95
QUANTILES = (0.025, 0.975)  # quantiles

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """Holds a value with the ends of its 95% confidence interval.

    The value is None if its denominator is 0. The ends are None if fewer than 2 images contribute.
    """

    value: float | None
    low: float | None = None
    high: float | None = None


UNKNOWN = Estimate(None)


def draw_resamples(images: int) -> Floats:
    """Returns how often each image counts in each draw, (1 + DRAWS, images). The first row, all ones, is the sample."""
    random = np.random.default_rng(SEED)
    drawn = random.multinomial(images, np.full(images, 1 / images), size=DRAWS) if images else np.zeros((DRAWS, 0))
    return np.vstack([np.ones(images), drawn])


def draw_group_resamples(sizes: Sequence[int]) -> Floats:
    """Returns how often each group counts in each draw, (1 + DRAWS, groups). The first row holds the sizes.

    A group is a number of images with equal counts. The draws are distributed as those of `draw_resamples`, and take
    memory for each group in place of each image.
    """
    images = sum(sizes)
    random = np.random.default_rng(SEED)
    shares = np.array(sizes, np.float64) / max(images, 1)
    drawn = random.multinomial(images, shares, size=DRAWS) if images else np.zeros((DRAWS, len(sizes)))
    return np.vstack([np.array(sizes, np.float64), drawn])


def estimate(values: Floats, images: int) -> Estimate:
    """Returns the value of the first row of `draw_resamples` with the interval from the other rows.

    `values` has one value for each row of `draw_resamples`, nan where there is none. `images` is the number of images
    that contribute.
    """
    if np.isnan(values[0]):
        return Estimate(None)
    drawn = values[1:][~np.isnan(values[1:])]
    if images < 2 or not drawn.size:
        return Estimate(float(values[0]))
    low, high = np.quantile(drawn, QUANTILES)
    return Estimate(float(values[0]), float(low), float(high))


def divide(part: Floats, whole: Floats) -> Floats:
    """Divides element by element; nan where the whole is 0."""
    rates: Floats = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return rates
