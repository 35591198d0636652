"""Computes quantiles of Student's t for any degrees of freedom, whole or not, of many samples at once.

With t = sqrt(n) tan(a), the density of t is proportional to cos(a) ** (n - 1). So the distribution function is the
integral of a smooth function from 0 to a, which Gauss-Legendre quadrature finds to 1e-5 with 24 nodes. SciPy has it
too, but it would be a dependency of 35 MB for this function alone.
"""

import math

import numpy as np

from curation.scores.bootstrap import Floats

MAX_FREEDOM = 1e5  # degrees of freedom; from there on the quantiles are those of the normal distribution to 1e-4
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)
_HIGHEST = 13.0  # the quantile for 0.975 of one degree of freedom is 12.706
_HALVINGS = 40


def compute_t_quantile(probability: float, freedom: Floats) -> Floats:
    """Returns the quantiles of Student's t for a probability from 0.5 to 0.975 and one degree of freedom or more."""
    if not 0.5 <= probability <= 0.975:
        raise ValueError(f"the probability must be from 0.5 to 0.975, not {probability}")
    freedom = np.clip(np.asarray(freedom, np.float64), 1.0, MAX_FREEDOM)
    low, high = np.zeros_like(freedom), np.full_like(freedom, _HIGHEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        is_below = _compute_distribution(middle, freedom) < probability
        low, high = np.where(is_below, middle, low), np.where(is_below, high, middle)
    found: Floats = (low + high) / 2
    return found


def _compute_distribution(values: Floats, freedom: Floats) -> Floats:
    """Returns the probability that t is at most a value, which is not negative."""
    half_angles = np.arctan(values / np.sqrt(freedom)) / 2
    angles = half_angles[..., None] * (_NODES + 1)
    integral = half_angles * (np.cos(angles) ** (freedom[..., None] - 1) @ _WEIGHTS)
    logs = np.vectorize(math.lgamma, otypes=[np.float64])
    scale = np.exp(logs((freedom + 1) / 2) - logs(freedom / 2)) / math.sqrt(math.pi)
    distribution: Floats = 0.5 + scale * integral
    return distribution
