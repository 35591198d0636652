"""Computes which true difference an interval of Student's t finds, by the noncentral distribution of t.

With n degrees of freedom, T = (Z + d) / W. Z is normal, d is the true difference in true standard errors, and W is the
estimated standard error in true ones: the root of a chi-square over its degrees of freedom. An interval that excludes
zero at the right side has T > t(97.5 %). So its probability is the mean of Phi(d - t W) over W.

The sum of quantiles t(97.5 %) + t(80 %), which is often taken for d (Bloom, 1995), is 5 % too small with 2 degrees of
freedom. And the estimate of a standard error from few seeds is too small on average: by the factor E[W], 0.886 with 2.
Because of both, only 72 % to 77 % of planted differences of that size were found in simulated comparisons.
"""

import math
from functools import cache

import numpy as np

from curation.scores.bootstrap import CONFIDENCE, Floats
from curation.scores.student_t import MAX_FREEDOM, compute_t_quantile

POWER = 0.8
"""The chance to find a difference of the size that is called detectable; 80 % is what trials are planned for."""

_POINTS = 65  # of 1 / degrees of freedom: linear between them, the result is right to a thousandth
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(256)  # the probability is right to 1e-6 even with one degree
_SPREAD = 8.0  # standard deviations of W that are integrated over
_HALVINGS = 40


def compute_detectable(freedom: Floats) -> Floats:
    """Returns the true difference that `POWER` of intervals find, in estimated standard errors.

    It is the mean over comparisons, whose estimates vary, that is right; a single one with few seeds may be far off.
    """
    points = np.linspace(0, 1, _POINTS)
    found: Floats = np.interp(1 / np.clip(freedom, 1.0, MAX_FREEDOM), points, _compute_table())
    return found


@cache
def _compute_table() -> Floats:
    freedom = 1 / np.maximum(np.linspace(0, 1, _POINTS), 1 / MAX_FREEDOM)
    return _find_shift(freedom) / _compute_mean_error(freedom)


def _find_shift(freedom: Floats) -> Floats:
    """Returns the true difference in true standard errors, by bisection."""
    quantile = compute_t_quantile((1 + CONFIDENCE) / 2, freedom)
    low, high = quantile * 0.5, quantile + 5.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        is_too_small = _compute_power(middle, quantile, freedom) < POWER
        low, high = np.where(is_too_small, middle, low), np.where(is_too_small, high, middle)
    found: Floats = (low + high) / 2
    return found


def _compute_power(shift: Floats, quantile: Floats, freedom: Floats) -> Floats:
    """Returns the probability that T exceeds the quantile, by Gauss-Legendre quadrature over W."""
    half = freedom[:, None] / 2
    width = _SPREAD / np.sqrt(2 * freedom)
    start, end = np.maximum(1 - width, 0)[:, None], (1 + width)[:, None]
    errors = start + (end - start) * (_NODES + 1) / 2
    logs = np.vectorize(math.lgamma, otypes=[np.float64])
    density = 2 * np.exp(half * np.log(half) - logs(half) + (2 * half - 1) * np.log(errors) - half * errors**2)
    erf = np.vectorize(math.erf, otypes=[np.float64])
    normal = (1 + erf((shift[:, None] - quantile[:, None] * errors) / math.sqrt(2))) / 2
    found: Floats = (normal * density * (end - start) / 2) @ _WEIGHTS
    return found


def _compute_mean_error(freedom: Floats) -> Floats:
    """Returns the mean of W."""
    logs = np.vectorize(math.lgamma, otypes=[np.float64])
    found: Floats = np.sqrt(2 / freedom) * np.exp(logs((freedom + 1) / 2) - logs(freedom / 2))
    return found
