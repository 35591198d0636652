"""How many steps the data give is said before the first, and that of a run that does not fit them."""

from pathlib import Path
from typing import Any

import pytest

from tests.training.support import runs
from tests.training.support.sets import mixed, plan, tokenizer
from training.data.loader import PackLoader
from training.data.pass_length import PackCount, count_packs, estimate_packs
from training.loop import train
from training.recipe import TrainRecipe
from training.run_length import RunLength, find_length_faults


def once(folder: Path, tokenizer: Path, **changes: Any) -> TrainRecipe:
    """A run over 72 samples, each at most once."""
    data = {"repeats": {}, "stop": "all_exhausted"} | changes.pop("data", {})
    return runs.packed(folder, tokenizer, data=data, run={"output": str(folder / "run")}, **changes)


def test_a_pass_is_what_the_loader_gives(tmp_path: Path) -> None:
    held = plan(tmp_path, mixed(tmp_path, tokenizer(tmp_path)[0]), packing_window=30)
    packs = len(list(held.iterate_packs()))
    assert count_packs(held) == packs == 24
    assert estimate_packs(held) == PackCount(24, True)
    loader = PackLoader(held, global_batch_size=5)
    assert len(list(loader.iterate_steps())) == 5
    loader.close()


def test_a_long_pass_is_estimated(tmp_path: Path) -> None:
    sources = mixed(tmp_path, tokenizer(tmp_path)[0])
    held = plan(tmp_path, sources, packing_window=32, stop=20_000, repeats=dict.fromkeys(sources))
    assert held.window_count == 625
    found = estimate_packs(held)
    assert not found.is_exact
    assert found.packs == pytest.approx(count_packs(held), rel=0.01)


def test_a_run_of_epochs(tokenizer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It takes every sample so often, and its schedule ends with the data."""
    asked = once(tmp_path, tokenizer, steps=None, epochs=2, schedule={"shape": "cosine", "warmup_steps": 1})
    result = train(asked)
    assert (result.status, result.step, result.seen["samples"]) == ("done", 7, 144)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "training: 2 epochs, 7 steps of 4 sequences; one pass: about 4 steps"
    assert said[-1].startswith("training: step 7/7, ")


def test_data_that_run_out(tokenizer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schedule = {"shape": "cosine", "warmup_steps": 400}
    result = train(once(tmp_path, tokenizer, steps=400, schedule=schedule))
    assert (result.status, result.seen["samples"]) == ("no data", 72)
    last = result.step
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"training: 400 steps of 4 sequences; one pass: {last} steps",
        f"steps: the data run out after {last} of 400 steps, at {(last - 1) / 400:.0%} of the peak learning rate: set "
        f"steps={last}, or epochs=1 with steps=null, or repeat the sources (data.repeats)",
        f"schedule.warmup_steps: 400 steps of warm-up do not end within the run's {last} steps, so the learning rate "
        "never reaches its peak: set fewer",
    ]


@pytest.mark.parametrize(
    ("length", "warmup_steps", "faults"),
    [
        (RunLength(100, 100, True), 99, []),
        (RunLength(100, 100, True), 100, ["schedule.warmup_steps: 100 steps of warm-up do not end within the"]),
        (RunLength(100, 99, True), 0, ["steps: the data run out after 99 of 100 steps, at 100% of the"]),
        (RunLength(100, 99, False), 98, ["steps: the data run out after about 99 of 100 steps, at 100% of the peak"]),
    ],
)  # fmt: skip
def test_what_is_warned_of(tokenizer: Path, length: RunLength, warmup_steps: int, faults: list[str]) -> None:
    asked = runs.recipe(tokenizer, steps=length.steps, schedule={"shape": "constant", "warmup_steps": warmup_steps})
    found = find_length_faults(asked, length)
    assert [one[: len(begin)] for one, begin in zip(found, faults, strict=True)] == faults


def test_sources_without_a_limit(tokenizer: Path, tmp_path: Path) -> None:
    asked = runs.packed(tmp_path, tokenizer)
    assert find_length_faults(asked, RunLength(9, 8, True))[0].endswith(": raise data.stop")
