"""The ledger that keeps when each chunk was worked on."""

import time

from pipelines.cluster.chunk_times import ChunkTime, TimedLedger
from pipelines.cluster.ledger_events import Begin, Finish


def test_times_and_peaks() -> None:
    ledger = TimedLedger(["decode", "ocr"])
    now = time.monotonic()
    ledger.record("decode", "one", now, [Begin(now - 4, "a/0", 8, 100), Finish(now - 1, "a/0", True, 5000)])
    ledger.record("decode", "two", now, [Begin(now - 3, "a/1", 4, 60), Finish(now - 2, "a/1", True, 9000)])
    ledger.record("decode", "one", now, [Begin(now - 1, "a/2", 8, 100), Finish(now, "a/2", True, 4000)])
    ledger.record("ocr", "three", now, [Begin(now - 1, "a/0", 8, 100)])
    found = ledger.list_times()
    assert [(one.stage, one.worker, one.chunk, one.rows, one.size) for one in found] == [
        ("decode", "one", "a/0", 8, 100),
        ("decode", "two", "a/1", 4, 60),
        ("decode", "one", "a/2", 8, 100),
    ]
    assert [round(one.seconds, 3) for one in found] == [3, 1, 1]
    assert ledger.list_peaks() == {"decode": [5000, 9000]}, "the most that each worker had"
    assert ledger.snapshot().stages["decode"].chunks == 3, "it counts as its base does"


def test_a_chunk_that_began_before_the_ledger_has_no_time() -> None:
    ledger = TimedLedger(["ocr"])
    ledger.finish("ocr", "a/0")
    assert ledger.list_times() == []
    assert ChunkTime("ocr", "one", "a/0", 1, 1, 2.0, 5.0).seconds == 3
