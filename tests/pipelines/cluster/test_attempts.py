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
