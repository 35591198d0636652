"""Rates with intervals, pools that balance, and the time of a run."""

import numpy as np
import pytest

from pipelines.annotate.forecast.estimate import (
    DRIFT,
    Costs,
    collect_costs,
    draw_times,
    estimate_stages,
    measure_drift,
)
from pipelines.annotate.forecast.timeline import Group, WorkTime
from pipelines.cluster.chunk_times import ChunkTime


def times_of(stage: str, workers: int, seconds: list[float]) -> list[ChunkTime]:
    """Chunks of ten images, the first of each worker being ten times slower."""
    found = []
    for worker in range(workers):
        found.append(ChunkTime(stage, str(worker), f"warm/{worker}", 10, 0, 0.0, 10 * seconds[0]))
    for number, took in enumerate(seconds):
        start = 1000.0 + 100 * number
        found.append(ChunkTime(stage, str(number % workers), f"a/{number}", 10, 0, start, start + took))
    return found


def test_the_rates_of_stages_and_the_workers_that_balance() -> None:
    times = times_of("decode", 1, [0.1] * 8) + times_of("ocr", 4, [4.0] * 8) + times_of("boxes", 2, [2.0] * 8)
    workers = {"decode": 1, "ocr": 4, "boxes": 2}
    found = {one.stage: one for one in estimate_stages(times, workers, {"ocr": [5, 9]})}
    assert {stage: round(one.images_per_second.value, 6) for stage, one in found.items()} == {
        "decode": 100,
        "ocr": 10,
        "boxes": 10,
    }
    assert {stage: one.balancing_workers for stage, one in found.items()} == {"decode": 1, "ocr": 4, "boxes": 2}
    assert {stage: one.worker_bytes for stage, one in found.items()} == {"decode": 0, "ocr": 9, "boxes": 0}
    faster = {one.stage: one for one in estimate_stages(times, workers | {"boxes": 8}, {})}
    assert faster["boxes"].balancing_workers == 2, "of eight: OCR is the slowest"


def test_the_interval_of_a_rate_grows_with_what_differs() -> None:
    alike = estimate_stages(times_of("ocr", 1, [4.0] * 12), {"ocr": 1}, {})[0].images_per_second
    mixed = estimate_stages(times_of("ocr", 1, [2.0, 6.0] * 6), {"ocr": 1}, {})[0].images_per_second
    assert alike.low == pytest.approx(alike.value) == pytest.approx(alike.high) == pytest.approx(2.5)
    assert mixed.value == pytest.approx(2.5)
    assert mixed.low < 2.2 < 3 < mixed.high


def test_the_costs_of_a_group_are_without_chunks_that_warm_up() -> None:
    times = times_of("ocr", 1, [1.0, 2.0, 3.0]) + times_of("boxes", 1, [4.0, 4.0, 4.0])
    both = WorkTime(40, 1.0, 0.0, 0.0, Group(frozenset(["ocr", "boxes"]), 2))
    assert sorted(collect_costs(times, both).seconds) == [5, 6, 7]
    one = WorkTime(40, 1.0, 0.0, 0.0, Group(frozenset(["boxes"]), 1))
    assert list(collect_costs(times, one).seconds) == [4, 4, 4]
    assert list(collect_costs(times, one).rows) == [10, 10, 10]


def test_a_machine_that_slows_down_has_a_wider_interval() -> None:
    steady, rows = Costs(np.full(12, 2.0), np.full(12, 10.0)), np.full(12, 10.0)
    slowing = Costs(np.repeat([1.0, 2.0, 3.0], 4), rows)
    assert measure_drift(steady) == DRIFT
    assert measure_drift(slowing) == pytest.approx(np.std(np.log([1, 2, 3]), ddof=1))
    assert measure_drift(Costs(np.array([1.0, 9.0]), np.array([1.0, 1.0]))) == DRIFT, "too few to say"
    narrow, wide = (draw_times(costs, 0.2, 1000, 10.0, 5.0) for costs in (steady, slowing))
    assert narrow.value == wide.value == 215
    assert wide.low < narrow.low < 200 < 230 < narrow.high < wide.high


def test_the_start_counts_once() -> None:
    costs = Costs(np.full(12, 2.0), np.full(12, 10.0))
    short, long = (draw_times(costs, 0.2, images, 60.0, 0.0) for images in (10, 100_000))
    assert short.value == 62
    assert long.value == 20_060
    assert (long.high - long.low) / long.value < 0.25 < (short.high - short.low) / short.value
    assert draw_times(costs, 0.2, 10, 60.0, 0.0) == short, "the draws are seeded"
