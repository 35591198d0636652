"""The rate of the last minutes, and not of the start."""

import pytest

from schemas.moving_rate import MovingRate
from tests.support.clock import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("schemas.moving_rate.time", made)
    return made


def test_an_old_pace_is_forgotten(clock: Clock) -> None:
    rate = MovingRate()
    for second in range(1, 1001):  # ten a second
        clock.now += 1
        rate.record(10 * second)
    assert rate.compute() == pytest.approx(10)
    for second in range(1, 401):  # then one
        clock.now += 1
        rate.record(10_000 + second)
    assert rate.compute() == pytest.approx(1)


def test_start_up_and_what_was_skipped_do_not_count(clock: Clock) -> None:
    rate = MovingRate()
    clock.now += 500
    assert rate.compute() == 0
    rate.restart(0)
    rate.skip(1_000_000)
    clock.now += 10
    rate.record(1_000_050)
    assert rate.compute() == pytest.approx(5)


def test_a_stall_lowers_the_rate(clock: Clock) -> None:
    rate = MovingRate()
    clock.now += 10
    rate.record(100)
    clock.now += 90
    rate.record(100)
    assert rate.compute() == pytest.approx(1)


def test_a_count_that_grows_seldom_has_a_rate(clock: Clock) -> None:
    rate = MovingRate()
    for chunk in range(1, 5):  # every ten minutes
        clock.now += 600
        rate.record(chunk)
        assert rate.compute() == pytest.approx(1 / 600)


def test_many_measurements_take_little_memory(clock: Clock) -> None:
    rate = MovingRate()
    for count in range(1, 100_001):
        clock.now += 0.001
        rate.record(count)
    assert rate.compute() == pytest.approx(1000)
    assert len(rate._points) < 200
