"""How far a measured rate can be trusted: 95 % intervals by the percentile bootstrap over images.

Images are drawn again, as many as there are, with replacement, and the rate is computed anew from each draw. Images are
drawn whole since what is in one picture, and how well it is seen, hangs together. Draws are seeded: the same counts
give the same interval.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 1000  # moves an end of the interval by about a thousandth from seed to seed
SEED = 0
CONFIDENCE = 0.95
ENDS = (0.025, 0.975)  # quantiles

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with the ends of its 95 % interval. None: nothing to divide by; no interval from fewer than 2 images."""

    value: float | None
    low: float | None = None
    high: float | None = None


def draws(images: int) -> Floats:
    """How often each image counts, (1 + DRAWS, images): once in the first row, which is the sample itself."""
    random = np.random.default_rng(SEED)
    drawn = random.multinomial(images, np.full(images, 1 / images), size=DRAWS) if images else np.zeros((DRAWS, 0))
    return np.vstack([np.ones(images), drawn])


def estimate(values: Floats, images: int) -> Estimate:
    """From a value for each row of `draws`, nan where there is none. `images`: how many had a share in it."""
    if np.isnan(values[0]):
        return Estimate(None)
    drawn = values[1:][~np.isnan(values[1:])]
    if images < 2 or not drawn.size:
        return Estimate(float(values[0]))
    low, high = np.quantile(drawn, ENDS)
    return Estimate(float(values[0]), float(low), float(high))


def ratio(part: Floats, whole: Floats) -> Floats:
    """Element by element; nan where the whole is nothing."""
    rates: Floats = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return rates
