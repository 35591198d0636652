"""What the times of a probe's chunks say of the cost of an image."""

import pytest

from pipelines.annotate.forecast.timeline import Group, find_warm_ups, integrate_share, measure_work
from pipelines.cluster.chunk_times import ChunkTime

OCR = Group(frozenset(["ocr"]), 2)


def at(stage: str, worker: str, chunk: int, started: float, ended: float, rows: int = 10) -> ChunkTime:
    return ChunkTime(stage, worker, f"a/{chunk}", rows, 0, started, ended)


def test_the_share_of_places_that_are_busy() -> None:
    times = [at("ocr", "1", 0, 0, 4), at("ocr", "2", 1, 2, 6), at("ocr", "3", 2, 3, 4)]
    assert integrate_share(times, 2) == 1 + 2 + 1, "half for two seconds, all for two more, half for two"
    assert integrate_share(times, 1) == 6
    assert integrate_share(times, 4) == pytest.approx(0.5 + 0.5 + 0.75 + 0.5)


def test_two_workers_whose_first_chunks_are_slow() -> None:
    """Each takes 8 s for the first chunk and 5 s for the others; one of them has a chunk more."""
    times = []
    for worker, chunks in (("1", 4), ("2", 3)):
        start = 0.0
        for number in range(chunks):
            end = start + (5 if number else 8)
            times.append(at("ocr", worker, 10 * int(worker) + number, start, end))
            start = end
    assert find_warm_ups(times) == {("ocr", "a/10"), ("ocr", "a/20")}
    work = measure_work(times, [OCR], ["ocr"])
    assert work.images == 70
    assert work.warm_up == pytest.approx(3), "twice three seconds on two places"
    assert work.seconds == pytest.approx(70 * 0.25)
    assert work.per_image == pytest.approx(0.25)
    assert work.idle == pytest.approx(2.5), "five seconds with one of two at work"
    assert work.seconds + work.warm_up + work.idle == pytest.approx(23), "all of the time is accounted for"


def test_stages_that_share_the_cores_count_together() -> None:
    cores = Group(frozenset(["ocr", "boxes"]), 2)
    times = []
    for number in range(4):
        times.append(at("ocr", "1", number, 3 * number, 3 * number + 3))
        times.append(at("boxes", "2", number, 3 * number + 3, 3 * number + 6))
    work = measure_work(times, [cores], ["ocr", "boxes"])
    assert (work.seconds, work.warm_up, work.idle) == (pytest.approx(12), 0, pytest.approx(3))
    assert work.per_image == pytest.approx(12 / 40), "each image takes 0.6 s of a core, of which there are two"


def test_a_run_waits_for_the_slowest_resource() -> None:
    gpu = Group(frozenset(["boxes"]), 1)
    times = [at("ocr", str(number % 2), number, number // 2, number // 2 + 1) for number in range(4)]
    times += [at("boxes", "3", number, 1 + 2 * number, 3 + 2 * number) for number in range(4)]
    work = measure_work(times, [OCR, gpu], ["ocr", "boxes"])
    assert (work.group, work.seconds, work.per_image) == (gpu, 8, 0.2)
    assert work.idle == 1, "it waits for the first chunk of the other"


def test_where_every_chunk_is_a_first_one_none_is_warm_up() -> None:
    times = [at("ocr", "1", 0, 0, 4), at("ocr", "2", 1, 0, 4)]
    assert find_warm_ups(times) == set()
    assert measure_work(times, [OCR], ["ocr"]).per_image == 0.2
