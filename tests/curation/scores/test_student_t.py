"""Quantiles of Student's t are those of printed tables, and lie between them for freedoms that are not whole."""

import numpy as np
import pytest

from curation.scores.student_t import MAX_FREEDOM, compute_t_quantile

TABLE = {1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764, 5: 2.5706, 10: 2.2281, 30: 2.0423, 120: 1.9799, 1e9: 1.9600}
"""Quantiles for 0.975, from the table of Abramowitz and Stegun (26.10)."""
TABLE_80 = {1: 1.3764, 2: 1.0607, 5: 0.9195, 10: 0.8791, 1e9: 0.8416}


@pytest.mark.parametrize(("probability", "table"), [(0.975, TABLE), (0.8, TABLE_80)])
def test_the_quantiles_are_those_of_the_table(probability: float, table: dict[float, float]) -> None:
    found = compute_t_quantile(probability, np.array(list(table)))
    assert found == pytest.approx(list(table.values()), abs=1e-4)


def test_freedoms_that_are_not_whole() -> None:
    """Those of 2.5 and 7.3 are SciPy 1.17.1's `stdtrit`; more freedom never makes a quantile larger."""
    assert compute_t_quantile(0.975, np.array([2.5, 7.3])) == pytest.approx([3.57465, 2.34507], abs=1e-4)
    many = compute_t_quantile(0.975, np.geomspace(1, MAX_FREEDOM, 400))
    assert (np.diff(many) < 1e-5).all()
    assert compute_t_quantile(0.5, np.array([3.0]))[0] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("probability", [0.4, 0.99])
def test_other_probabilities_are_refused(probability: float) -> None:
    with pytest.raises(ValueError, match="the probability must be from"):
        compute_t_quantile(probability, np.array([3.0]))
