"""What a line of progress says."""

import pytest

from pipelines.terminal.progress import Progress, format_share
from tests.schemas.test_moving_rate import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("schemas.moving_rate.time", made)
    return made


def test_time_left_is_known_after_the_first_batch(clock: Clock) -> None:
    progress = Progress("annotate", 1_000_000)
    progress.show(0, "waiting for the first batch of ocr")
    assert progress.describe() == "annotate: 0%, waiting for the first batch of ocr"
    clock.now += 60
    progress.restart_clock()  # what came before is start-up
    clock.now += 4
    progress.reach(400)
    progress.show(16)
    assert progress.describe() == "annotate: 0.04%, 16 images, 4.0/s, 2:46:36 left"
    clock.now += 4
    progress.reach(800)
    progress.show(32, note="no progress of stage boxes for 40 s")
    expected = "annotate: 0.08%, 32 images, 4.0/s, 2:46:32 left; no progress of stage boxes for 40 s"
    assert progress.describe() == expected


def test_what_an_earlier_run_has_done_makes_no_rate(clock: Clock) -> None:
    progress = Progress("annotate", 1000)
    progress.skip(500)
    progress.show(0)
    assert progress.describe() == "annotate: 50%, 0 images"
    clock.now += 10
    progress.reach(600)
    progress.show(4)
    assert progress.describe() == "annotate: 60%, 4 images, 0.4/s, 0:00:40 left"


def test_progress_never_falls_and_never_exceeds_all() -> None:
    progress = Progress("annotate", 1000)
    for reached, done in ((300.7, 300), (200, 300), (5000, 1000)):
        progress.reach(reached)
        assert progress.done == done


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0%"),
        (1e-9, "<0.01%"),
        (0.00019, "0.01%"),
        (0.00999, "0.99%"),
        (0.0123, "1.2%"),
        (0.5, "50%"),
        (0.9999, "99%"),
        (1.0, "100%"),
    ],
)
def test_shares(share: float, text: str) -> None:
    assert format_share(share) == text
