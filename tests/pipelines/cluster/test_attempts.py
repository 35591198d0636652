"""Finding killers: batches stay whole until one has killed twice, then it is halved until a sample stands alone."""

from pipelines.cluster.attempts import Attempts


def deaths_until_found(killer: int, rows: int, batch: int) -> tuple[int, Attempts]:
    """Attempts at a chunk in which one sample kills every worker that is at work on it."""
    attempts, deaths = Attempts((0, rows)), 0
    while True:
        hit = next(((a, b) for a, b in attempts.ranges(rows, batch) if a <= killer < b), None)
        if hit is None:
            return deaths, attempts
        attempts.at_work = hit if attempts.careful else (0, rows)
        attempts.died()
        deaths += 1


def test_batches_stay_whole_after_one_death() -> None:
    attempts = Attempts((0, 10))
    attempts.died()
    assert attempts.careful
    assert attempts.ranges(10, 4) == [(0, 4), (4, 8), (8, 10)]
    attempts.at_work = (4, 8)
    attempts.died()
    assert attempts.ranges(10, 4) == [(0, 4), (4, 8), (8, 10)]
    attempts.died()
    assert attempts.ranges(10, 4) == [(0, 4), (4, 6), (6, 8), (8, 10)]


def test_every_killer_is_found_and_no_one_else() -> None:
    for rows, batch in ((1, 4), (5, 16), (23, 4), (64, 16)):
        for killer in range(rows):
            deaths, attempts = deaths_until_found(killer, rows, batch)
            assert attempts.killers == [killer]
            assert deaths <= 1 + 2 * (batch.bit_length() + 1)
            left = attempts.ranges(rows, batch)
            assert sorted(place for start, stop in left for place in range(start, stop)) == [
                place for place in range(rows) if place != killer
            ]


def hangs_until_found(hung: int, rows: int, batch: int) -> tuple[int, Attempts]:
    """Attempts at a chunk in which an engine hangs at one sample, each ended by the watch of its worker."""
    attempts, ended = Attempts((0, rows)), 0
    while True:
        hit = next(((a, b) for a, b in attempts.ranges(rows, batch) if a <= hung < b), None)
        if hit is None:
            return ended, attempts
        attempts.hung(hit, is_decoding=False)
        attempts.died()
        ended += 1


def test_a_hang_is_known_for_what_it_is_at_once() -> None:
    """One end of a worker halves a batch: what it was at is known, and that it was this."""
    assert hangs_until_found(9, 64, 16)[0] == 5
    for rows, batch in ((1, 4), (5, 16), (23, 4)):
        for hung in range(rows):
            ended, attempts = hangs_until_found(hung, rows, batch)
            assert attempts.killers == [hung]
            assert ended <= 1 + batch.bit_length()
            assert attempts.fault(hung) == "a worker at work on this sample alone came to no end, and was ended"
            left = attempts.ranges(rows, batch)
            assert sorted(place for start, stop in left for place in range(start, stop)) == [
                place for place in range(rows) if place != hung
            ]


def test_an_image_that_is_decoded_without_end_is_found_by_one_hang_and_its_batch_stays_whole() -> None:
    attempts = Attempts((0, 10))
    for killer in (4, 5):
        attempts.hung((killer, killer + 1), is_decoding=True)
        attempts.died()
    assert attempts.killers == [4, 5]
    assert attempts.ranges(10, 4) == [(0, 4), (4, 8), (8, 10)]
    attempts.hung((8, 9), is_decoding=True)
    attempts.hung((9, 10), is_decoding=True)
    assert attempts.ranges(10, 4) == [(0, 4), (4, 8)], "nothing is left of the last"


def test_deaths_are_told_as_deaths() -> None:
    _, attempts = deaths_until_found(3, 8, 4)
    assert attempts.fault(3) == "2 workers died while they were at work on this sample alone"
