"""The detectable difference against known values, and against comparisons that are drawn."""

import numpy as np
import pytest

from curation.scores.power import POWER, _compute_mean_error, _compute_power, _find_shift, compute_detectable
from curation.scores.student_t import compute_t_quantile

FREEDOM = np.array([1.0, 2.0, 4.0, 10.0, 100.0, 1e5])


def test_the_shift_gives_the_power() -> None:
    """No shift is found as often as the interval is wrong at one side."""
    shift, quantile = _find_shift(FREEDOM), compute_t_quantile(0.975, FREEDOM)
    assert _compute_power(shift, quantile, FREEDOM).tolist() == pytest.approx([POWER] * 6, abs=1e-6)
    assert _compute_power(np.zeros(6), quantile, FREEDOM).tolist() == pytest.approx([0.025] * 6, abs=1e-5)


def test_means_of_the_estimated_error() -> None:
    """The c4 of control charts, of samples of 2, 3, 5 and 11 values."""
    assert _compute_mean_error(FREEDOM[:4]).tolist() == pytest.approx([0.7979, 0.8862, 0.9400, 0.9754], abs=5e-5)


def test_many_degrees_of_freedom_are_the_normal_distribution() -> None:
    assert compute_detectable(np.array([1e9]))[0] == pytest.approx(1.95996 + 0.84162, abs=1e-3)


def test_between_the_points_of_the_table() -> None:
    freedom = np.array([1.01, 1.37, 2.3, 2.82, 3.1, 6.6, 19.7, 150.0])
    exact = _find_shift(freedom) / _compute_mean_error(freedom)
    assert compute_detectable(freedom).tolist() == pytest.approx(exact.tolist(), rel=1e-3)


@pytest.mark.parametrize("freedom", [2, 3, 7])
def test_comparisons_that_are_drawn(freedom: int) -> None:
    """Of 200,000 means whose error is estimated, 80 % are found to differ from zero."""
    numbers, count = np.random.default_rng(freedom), 200_000
    values = numbers.normal(0, 1, (count, freedom + 1))
    errors = values.std(axis=1, ddof=1) / np.sqrt(freedom + 1)
    shift = compute_detectable(np.array([freedom]))[0] * errors.mean()
    found = values.mean(axis=1) + shift > compute_t_quantile(0.975, np.array([float(freedom)]))[0] * errors
    assert found.mean() == pytest.approx(POWER, abs=0.004)
