"""Finding killers: batches stay whole until one has killed twice, then it is halved until a sample stands alone."""

from pipelines.cluster.attempts import Attempts


def deaths_until_found(killer: int, rows: int, batch: int) -> tuple[int, Attempts]:
    """Attempts at a chunk in which one sample kills every worker that is at work on it."""
    attempts, deaths = Attempts((0, rows)), 0
    while True:
        hit = next(((a, b) for a, b in attempts.plan_ranges(rows, batch) if a <= killer < b), None)
        if hit is None:
            return deaths, attempts
        attempts.at_work = hit if attempts.is_isolating else (0, rows)
        attempts.record_death()
        deaths += 1


def count_halvings(place: int, rows: int, batch: int) -> int:
    """How often the batch that holds a sample is halved until the sample is alone."""
    start = place // batch * batch
    stop, halvings = min(start + batch, rows), 0
    while stop - start > 1:
        middle, halvings = (start + stop) // 2, halvings + 1
        start, stop = (start, middle) if place < middle else (middle, stop)
    return halvings


def test_batches_stay_whole_after_one_death() -> None:
    attempts = Attempts((0, 10))
    attempts.record_death()
    assert attempts.is_isolating
    assert attempts.plan_ranges(10, 4) == [(0, 4), (4, 8), (8, 10)]
    attempts.at_work = (4, 8)
    attempts.record_death()
    assert attempts.plan_ranges(10, 4) == [(0, 4), (4, 8), (8, 10)]
    attempts.record_death()
    assert attempts.plan_ranges(10, 4) == [(0, 4), (4, 6), (6, 8), (8, 10)]


def test_every_killer_is_found_and_no_one_else() -> None:
    for rows, batch in ((1, 4), (5, 16), (23, 4), (64, 16)):
        for killer in range(rows):
            deaths, attempts = deaths_until_found(killer, rows, batch)
            assert attempts.poison_samples == [killer]
            halvings = count_halvings(killer, rows, batch)
            assert deaths == (rows > batch) + 2 * (halvings + 1), "one for the chunk, two for each range that holds it"
            left = attempts.plan_ranges(rows, batch)
            assert sorted(place for start, stop in left for place in range(start, stop)) == [
                place for place in range(rows) if place != killer
            ]


def hangs_until_found(hung: int, rows: int, batch: int) -> tuple[int, Attempts]:
    """Attempts at a chunk in which an engine hangs at one sample, each ended by the watch of its worker."""
    attempts, ended = Attempts((0, rows)), 0
    while True:
        hit = next(((a, b) for a, b in attempts.plan_ranges(rows, batch) if a <= hung < b), None)
        if hit is None:
            return ended, attempts
        attempts.record_hang(hit, is_decoding=False)
        attempts.record_death()
        ended += 1


def test_a_hang_is_known_for_what_it_is_at_once() -> None:
    """One end of a worker halves a batch: what it was at is known, and that it was this."""
    assert hangs_until_found(9, 64, 16)[0] == 5
    for rows, batch in ((1, 4), (5, 16), (23, 4)):
        for hung in range(rows):
            ended, attempts = hangs_until_found(hung, rows, batch)
            assert attempts.poison_samples == [hung]
            assert ended == 1 + count_halvings(hung, rows, batch)
            assert attempts.describe_fault(hung) == "a worker hung while processing only this sample and was killed"
            left = attempts.plan_ranges(rows, batch)
            assert sorted(place for start, stop in left for place in range(start, stop)) == [
                place for place in range(rows) if place != hung
            ]


def test_an_image_that_is_decoded_without_end_is_found_by_one_hang_and_its_batch_stays_whole() -> None:
    attempts = Attempts((0, 10))
    for killer in (4, 5):
        attempts.record_hang((killer, killer + 1), is_decoding=True)
        attempts.record_death()
    assert attempts.poison_samples == [4, 5]
    assert attempts.plan_ranges(10, 4) == [(0, 4), (4, 8), (8, 10)]
    attempts.record_hang((8, 9), is_decoding=True)
    attempts.record_hang((9, 10), is_decoding=True)
    assert attempts.plan_ranges(10, 4) == [(0, 4), (4, 8)], "nothing is left of the last"


def test_deaths_are_told_as_deaths() -> None:
    _, attempts = deaths_until_found(3, 8, 4)
    assert attempts.describe_fault(3) == "2 workers died while processing only this sample"
