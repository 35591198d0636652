"""Intervals against those that theory gives, and what happens where there is little to draw from."""

import numpy as np
import pytest

from curation.scores.bootstrap import DRAWS, Estimate, divide, draw_resamples, estimate


def test_draws_are_as_many_images_as_there_are() -> None:
    drawn = draw_resamples(7)
    assert drawn.shape == (1 + DRAWS, 7)
    assert (drawn[0] == 1).all()
    assert (drawn.sum(axis=1) == 7).all()
    assert (drawn >= 0).all()
    assert np.array_equal(drawn, draw_resamples(7))
    assert drawn[1:].mean(axis=0) == pytest.approx(1, abs=0.1)  # an image's standard error is 0.03
    assert draw_resamples(0).shape == (1 + DRAWS, 0)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_the_interval_of_a_share_is_the_binomial_one(share: float) -> None:
    images = 400
    hits = np.arange(images) < share * images
    found = estimate(divide(draw_resamples(images) @ hits, np.full(1 + DRAWS, float(images))), images)
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    assert found.value == share
    error = 1.96 * (share * (1 - share) / images) ** 0.5
    assert (found.value - found.low) / error == pytest.approx(1, abs=0.15)
    assert (found.high - found.value) / error == pytest.approx(1, abs=0.15)


def test_images_are_drawn_whole() -> None:
    """Ten things in each of 40 images, all found or none: no surer than 40 things."""
    found = np.repeat([0.0, 10.0], 20)
    wide = estimate(draw_resamples(40) @ found / 400, 40)
    assert wide == estimate(draw_resamples(40) @ (found / 10) / 40, 40)


def test_percentiles() -> None:
    values = np.concatenate([[500.0], np.arange(1001.0)])
    assert estimate(values, 2) == Estimate(500.0, 25.0, 975.0)


def test_nothing_to_divide_by() -> None:
    assert divide(np.array([1.0, 0.0, 0.0]), np.array([2.0, 1.0, 0.0])).tolist()[:2] == [0.5, 0.0]
    rates = divide(np.array([1.0, 0.0, 3.0]), np.array([2.0, 0.0, 4.0]))
    assert estimate(rates, 5) == Estimate(0.5, 0.75, 0.75)  # from the draws that have any
    assert estimate(rates[1:], 5) == Estimate(None)
    assert estimate(rates, 1) == Estimate(0.5)
