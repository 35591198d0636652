"""Lines of the log, and what is kept of it when a run goes back."""

import json
from pathlib import Path

import pytest

from schemas.errors import ShardloomError
from tests.training.support import runs
from training.data.assemble import BadSample
from training.flops import build_flop_counter
from training.metrics import (
    BAD_SAMPLES_FILE,
    METRICS_FILE,
    MetricsLogger,
    StepCounts,
    _flatten,
    compute_rates,
    read_metrics,
    truncate_after_step,
)
from training.parallel import Ranks
from training.set_up import prepare_model


def test_tally(tokenizer: Path) -> None:
    flops = build_flop_counter(prepare_model(runs.recipe(tokenizer)))
    batches = [runs.batch(1), runs.batch(2, images=False)]
    tally = StepCounts.from_batches(batches, flops, 3, 0.5)
    assert (tally.images, tally.tiles, tally.positions, tally.samples, tally.bad_samples) == (1, 1, 128, 7, 3)
    both = StepCounts.from_sums([a + b for a, b in zip(tally.to_numbers(), tally.to_numbers(), strict=True)])
    assert (both.labels, both.tokens) == (2 * tally.labels, 2 * tally.tokens)
    assert isinstance(both.labels, int)
    assert both.flops == 2 * flops.count(batches)


def test_rates() -> None:
    tally = StepCounts(tokens=900, positions=1000, images=10, flops=4e9, data_wait_seconds=1.0)
    assert compute_rates(tally, seconds=2.0, world_size=2, peak_flops=2e9) == {
        "seconds": 2.0,
        "tokens_per_second": 450,
        "images_per_second": 5,
        "padding": pytest.approx(0.1),
        "data_wait": 0.25,
        "mfu": 0.5,
    }


def test_later_steps_are_taken_away(tmp_path: Path) -> None:
    path = tmp_path / METRICS_FILE
    path.write_text("".join(json.dumps({"step": step, "loss": 0.1}) + "\n" for step in range(1, 6)) + '{"step": 6, "lo')
    assert [line["step"] for line in read_metrics(tmp_path)] == [1, 2, 3, 4, 5]
    truncate_after_step(path, 3)
    assert path.read_text() == "".join(f'{{"step": {step}, "loss": 0.1}}\n' for step in (1, 2, 3))
    assert read_metrics(tmp_path / "nowhere") == []


def test_boards_get_numbers_alone() -> None:
    line = {"step": 3, "loss": 0.5, "losses": {"docs": 0.25}, "tokens": 7, "cursor": [0, 4], "left_out": {"docs.a": 2}}
    assert _flatten(line) == {"loss": 0.5, "losses/docs": 0.25, "tokens": 7, "left_out/docs.a": 2}


def test_faults_are_of_steps(tokenizer: Path, tmp_path: Path) -> None:
    """Those of steps that are to be taken again are taken away, as of the log."""
    asked, seen = runs.recipe(tokenizer), {"bad_samples": 1, "samples": 100}
    with MetricsLogger(tmp_path, asked, 0, 4, True) as metrics:
        for step in (1, 2, 3):
            metrics.record_bad_samples(step, [BadSample("docs", "0.tar", f"key {step}", "bad")], seen, Ranks())
    with MetricsLogger(tmp_path, asked, 2, 4, True):
        pass
    assert [json.loads(line) for line in (tmp_path / BAD_SAMPLES_FILE).read_text().splitlines()] == [
        {"step": step, "source": "docs", "shard": "0.tar", "key": f"key {step}", "reason": "bad"} for step in (1, 2)
    ]


def test_lines_now_and_then(tokenizer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = runs.recipe(tokenizer, steps=7, run={"log_every": 3})
    with MetricsLogger(tmp_path, asked, 0, 7, True) as metrics:
        for step in range(1, 8):
            metrics.log({"step": step, "loss": 8.0 / step, "tokens_per_second": 1234.5})
    assert [line["step"] for line in read_metrics(tmp_path)] == [3, 6, 7]
    assert capsys.readouterr().err == "training: step 7/7, loss 1.1429, 1,234 tokens/s, 0:00:00 left\n"


@pytest.mark.parametrize(
    ("run", "peak"),
    [({}, "measured (on a busy device?)"), ({"peak_tflops": 0.001}, "in run.peak_tflops")],
)
def test_an_mfu_over_1_is_not_reported(
    tokenizer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], run: dict[str, float], peak: str
) -> None:
    """One is enough to know that those before and after are too high, too."""
    with MetricsLogger(tmp_path, runs.recipe(tokenizer, run=run), 0, 9, True) as metrics:
        for step, mfu in enumerate([0.9, 1.0, 1.474, 0.98, 1.2], start=1):
            metrics.log({"step": step, "loss": 1.0, "tokens_per_second": 1.0, "mfu": mfu})
    assert [line["mfu"] for line in read_metrics(tmp_path)] == [0.9, 1.0, None, None, None]
    assert capsys.readouterr().err == (
        f"training: step 3 has an MFU of 1.47, but 1 is the most: the peak {peak} is too low; set run.peak_tflops to "
        "the device's; mfu is null from here on\n"
    )


def test_names_of_samples_steer_no_terminal(
    tokenizer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key is what a shard of others says."""
    fault = BadSample("docs", "0.tar", "\x1b]0;owned\x07", "bad\r\x1b[2J")
    with MetricsLogger(tmp_path, runs.recipe(tokenizer), 0, 4, True) as metrics, pytest.raises(ShardloomError):
        metrics.record_bad_samples(1, [fault], {"bad_samples": 1000, "samples": 1000}, Ranks())
    assert capsys.readouterr().err == "rank 0: docs 0.tar \\x1b]0;owned\\x07: bad\\r\\x1b[2J\n"
