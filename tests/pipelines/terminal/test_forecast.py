"""What is said of a run before it."""

from typing import Any

import pytest

from pipelines.terminal.forecast import format_bytes, format_time, list_lines, print_forecast


def make_forecast(**changes: Any) -> dict[str, Any]:
    facts = {"rows": 64, "quarantined": 1, "names": None, "tokens": None, "prompts": {"boxes": 1.25}}
    interval = {"value": 3.0, "low": 2.5, "high": 3.5}
    stage = {"stage": "boxes", "workers": 2, "images_per_second": interval, "balancing_workers": 4}
    found = {
        "images": 2000,
        "are_images_given": True,
        "seconds": {"value": 600.0, "low": 500.0, "high": 750.0},
        "start_seconds": 12.0,
        "seconds_per_image": 0.25,
        "slowest": ["boxes", "ocr"],
        "bytes_in": 2_000_000_000,
        "bytes_out": 512_000,
        "stages": [stage | {"worker_bytes": 1_500_000_000}],
        "facts": facts,
        "money": None,
        "probe": {"images": 64, "chunks": 4},
    }
    return found | changes


def test_lines() -> None:
    assert list_lines(make_forecast()) == [
        "the run waits for boxes and ocr: 4.00 images/s",
        "bytes: 2 GB in, 512 kB out",
        "2,000 images: 10 min, 95 % interval 8.33 min to 12.5 min; of it 12 s to start",
        "from a probe of 64 images in 4 chunks; 1 of 64 were left out",
    ]
    facts = make_forecast()["facts"] | {"names": 3.25, "tokens": 110.0}
    money = {"value": 1234.5, "low": 1000.0, "high": 1500.0}
    lines = list_lines(make_forecast(facts=facts, money=money, are_images_given=False))
    assert lines[2:4] == ["tags an image: 3.2", "tokens of captions: 220,000"]
    assert lines[4].startswith("2,000 images (by the bytes of the input): ")
    assert lines[5] == "price: 1,234.50, 95 % interval 1,000.00 to 1,500.00"


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_forecast(make_forecast())
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("boxes", "3.00", "2.50-3.50", "1.25", "1.5 GB"))


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1234, "1.23 kB"), (5.6e12, "5.6 TB"), (1e19, "1e+04 PB")]
)
def test_sizes(size: float, text: str) -> None:
    assert format_bytes(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.5, "0.5 s"), (119, "119 s"), (150, "2.5 min"), (9000, "2.5 hours"), (864_000, "10 days")]
)
def test_times(seconds: float, text: str) -> None:
    assert format_time(seconds) == text
