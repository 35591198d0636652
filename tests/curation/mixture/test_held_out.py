"""Which samples are held out: a share at random, the same ones always."""

import numpy as np
import pytest

from curation.mixture.held_out import HeldOut

NUMBERS = np.arange(100_000, dtype=np.int64)


def test_a_share_is_held_out_at_random() -> None:
    chosen = HeldOut(0.001, 0).select("docs", NUMBERS)
    assert chosen.sum() == pytest.approx(100, abs=30)
    assert np.array_equal(chosen[:1000], HeldOut(0.001, 0).select("docs", NUMBERS[:1000]))
    half = HeldOut(0.5, 0).select("docs", NUMBERS)
    assert abs(half.mean() - 0.5) < 0.01
    assert abs((half[1:] == half[:-1]).mean() - 0.5) < 0.01
    for other in (HeldOut(0.5, 0).select("text", NUMBERS), HeldOut(0.5, 1).select("docs", NUMBERS)):
        assert abs((half == other).mean() - 0.5) < 0.01
    assert HeldOut(0.002, 0).select("docs", NUMBERS)[chosen].all()


def test_whether_anything_is_left() -> None:
    """One sample of a later block is enough."""
    held = HeldOut(1 - 1e-6, 0)
    left = int(np.flatnonzero(~held.select("docs", np.arange(1 << 22)))[0])
    assert left > 1 << 16
    assert held.holds_all("docs", left)
    assert not held.holds_all("docs", left + 1)
    assert held.holds_all("docs", 0)


def test_the_first_of_a_source() -> None:
    held = HeldOut(0.001, 0)
    all_of_them = np.flatnonzero(held.select("docs", np.arange(200_000)))
    assert np.array_equal(held.find_first("docs", 200_000, 1000), all_of_them)
    assert np.array_equal(held.find_first("docs", 200_000, 7), all_of_them[:7])
    assert held.find_first("docs", 0, 7).tolist() == []
