"""The interval of a difference between recipes covers the truth as often as it says, whatever varies."""

import numpy as np
import pytest

from curation.scores.bootstrap import Floats
from curation.scores.power import compute_detectable
from curation.scores.seed_effects import SeedEffect, estimate_effect, estimate_effects
from curation.scores.student_t import compute_t_quantile

COUNT = 1000
EFFECT = 0.25

SETTINGS = {
    "nothing but noise": (3, 200, 0.0, 0.0, 1.0),
    "seeds alone": (3, 200, 1.0, 0.0, 0.0),
    "seeds and noise": (3, 200, 0.1, 0.0, 1.0),
    "questions a third of the seeds' variance": (3, 200, 0.0, 0.32, 1.0),
    "questions as much as seeds": (3, 200, 0.0, 0.58, 1.0),
    "questions three times as much": (3, 200, 0.0, 1.0, 1.0),
    "questions alone": (3, 200, 0.0, 1.0, 0.001),
    "all three": (3, 100, 0.1, 0.5, 1.0),
    "five seeds": (5, 200, 0.05, 0.5, 1.0),
    "eight seeds, few questions": (8, 25, 0.2, 0.5, 1.0),
    "many questions": (3, 1000, 0.02, 0.3, 1.0),
}
"""Seeds and questions, and the standard deviations of seeds, questions and the rest."""


def simulate(setting: str, effect: float = 0.0, seed: int = 0) -> Floats:
    """Differences of 1,000 comparisons [comparisons, seeds, questions] around a true one."""
    seeds, questions, of_seeds, of_questions, of_rest = SETTINGS[setting]
    random = np.random.default_rng([seed, list(SETTINGS).index(setting)])
    found: Floats = (
        effect
        + random.normal(0, of_seeds, (COUNT, seeds, 1))
        + random.normal(0, of_questions, (COUNT, 1, questions))
        + random.normal(0, of_rest, (COUNT, seeds, questions))
    )
    return found


def count_covered(differences: Floats, truth: float) -> int:
    found = estimate_effects(differences)
    return int((np.abs(found.value - truth) <= found.half_width).sum())


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_interval_covers_the_truth_in_93_to_97_of_100(setting: str) -> None:
    assert 930 <= count_covered(simulate(setting, EFFECT), EFFECT) <= 970


def test_two_seeds_are_too_few() -> None:
    """Their intervals cover less than they say where questions add something, so that the table warns of them."""
    random = np.random.default_rng(5)
    differences = random.normal(0, 0.3, (COUNT, 1, 200)) + random.normal(0, 1, (COUNT, 2, 200))
    assert 890 <= count_covered(differences, 0.0) < 930


def test_the_degrees_of_freedom_of_hillis_cover_less() -> None:
    """So the shares of the variance are not squared, as they are there."""
    setting = "questions a third of the seeds' variance"
    found, seeds = estimate_effects(simulate(setting, EFFECT)), SETTINGS[setting][0]
    error = found.half_width / compute_t_quantile(0.975, found.freedom)
    theirs = compute_t_quantile(0.975, (seeds - 1) / found.seed_share**2) * error
    assert int((np.abs(found.value - EFFECT) <= theirs).sum()) < 930


def test_answers_that_are_right_or_wrong() -> None:
    """Each model answers with a probability of its own for each question, as exact match is scored."""
    random = np.random.default_rng(7)
    easy = random.normal(0, 1.2, (COUNT, 1, 150))
    answers = []
    for shift in (0.0, 0.0):
        own = easy + random.normal(0, 0.4, (COUNT, 1, 150)) + random.normal(shift, 0.2, (COUNT, 3, 1))
        answers.append(random.random((COUNT, 3, 150)) < 1 / (1 + np.exp(-own)))
    assert 930 <= count_covered(answers[1].astype(float) - answers[0], 0.0) <= 970


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_planted_effect_is_found_as_often_as_the_design_says(setting: str) -> None:
    """An effect of the detectable size is found in 80 % of comparisons, and half of it far less often."""
    detectable = float(np.mean(estimate_effects(simulate(setting)).detectable))
    found = {}
    for part in (1.0, 0.5, 0.0):
        effects = estimate_effects(simulate(setting, part * detectable, seed=1))
        found[part] = float((effects.value - effects.half_width > 0).mean())
    assert (0.74 if setting == "nothing but noise" else 0.77) <= found[1.0] <= 0.84
    assert 0.15 <= found[0.5] <= 0.5
    assert found[0.0] <= 0.04


def test_the_estimate_by_hand() -> None:
    """Mean squares of 5, 7.5 and 0.5: 12 parts of variance over 15 cells, of which seeds have 5."""
    rest = np.array([[1, -1, 0, 0, 0], [-1, 1, 0, 0, 0], [0, 0, 0, 0, 0]])
    found = estimate_effect(2.0 + np.array([[-1], [0], [1]]) + np.array([-2, -1, 0, 1, 2]) + rest)
    assert found.value == 2
    assert found.seed_share == pytest.approx(5 / 12)
    assert found.freedom == pytest.approx(48 / 17)
    quantile = compute_t_quantile(0.975, np.array([48 / 17]))[0]
    assert (found.low, found.high) == pytest.approx((2 - quantile * 0.8**0.5, 2 + quantile * 0.8**0.5))
    assert found.detectable == pytest.approx(compute_detectable(np.array([48 / 17]))[0] * 0.8**0.5)


def test_what_has_no_interval() -> None:
    assert estimate_effect(np.array([[0.5, 0.1]])) == SeedEffect(0.3)
    assert estimate_effect(np.array([[0.5], [0.1]])) == SeedEffect(0.3)
    assert estimate_effect(np.zeros((3, 10))) == SeedEffect(0.0)
    assert estimate_effect(np.ones((3, 10)) / 3).low is None
    assert estimate_effect(np.full((3, 10), np.nan)) == SeedEffect(None)
    assert estimate_effect(np.zeros((3, 0))) == SeedEffect(None)
    assert not estimate_effect(np.zeros((3, 10))).is_found


def test_a_difference_outside_of_its_noise_is_found() -> None:
    random = np.random.default_rng(0)
    assert estimate_effect(1 + random.normal(0, 0.1, (3, 50))).is_found
    assert estimate_effect(-1 + random.normal(0, 0.1, (3, 50))).is_found
    assert not estimate_effect(random.normal(0, 1, (3, 50))).is_found
