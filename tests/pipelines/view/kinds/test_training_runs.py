"""A training run as a page: its loss, also that of held-out samples, in all and by source."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.view.options import ViewOptions
from pipelines.view.run import write_view
from schemas.errors import ShardloomError, UsageError
from tests.pipelines.support.pages import Element, read_page


def make_run(folder: Path, lines: list[Any]) -> Path:
    (folder / "run").mkdir()
    (folder / "run/recipe.yaml").write_text("kind: train\nmodel: {name: <b>x</b>}\n")
    text = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (folder / "run/metrics.jsonl").write_text("\n".join(text))
    return folder / "run"


def show(run: Path, **options: Any) -> Element:
    page = run.parent / "page.html"
    write_view(str(run), str(page), ViewOptions.model_validate(options))
    return read_page(page.read_bytes())


def step(number: int) -> dict[str, Any]:
    losses = {"ocr": 8 / number, "<i>docs</i>": 9 / number, "bad": None}
    rates = {"tokens_per_second": 100.0 * number, "mfu": None, "gradient_norm": 1.0, "padding": 0.5}
    return {"step": number, "loss": 8.5 / number, "losses": losses, "lr": {"tower": 1e-4, "language": 1e-3}} | rates


def test_losses_by_source(tmp_path: Path) -> None:
    page = show(make_run(tmp_path, [step(number) for number in range(1, 21)] + ['{"step": 21, "lo']))
    assert [one.read() for one in page.find_all("figcaption")] == [
        *("Loss", "Loss, by source", "Learning rate", "Tokens a second", "Norm of the gradient", "Share of padding"),
    ]
    by_source = page.find_all("figure", class_="chart")[1]
    assert len(by_source.find_all("path")) == 2
    assert {"ocr", "<i>docs</i>"} <= {one.read() for one in by_source.find_all("text")}
    facts = {one.find_all("dt")[0].read(): one.find_all("dd")[0].read() for one in page.find_all("dl")[0].inside}
    assert facts == {"step": "20", "loss": "0.425", "tokens per second": "2,000"}
    assert page.find_all("p", class_="body")[0].read() == "kind: train\nmodel: {name: <b>x</b>}\n"


def test_held_out_losses(tmp_path: Path) -> None:
    run = make_run(tmp_path, [step(number) for number in range(1, 21)])
    lines = [{"step": n, "loss": abs(n - 10) + 0.5, "losses": {"ocr": 1.0, "docs": 2.0}} for n in (5, 10, 15, 20)]
    text = "\n".join(map(json.dumps, [*lines, {"step": 25, "loss": float("nan"), "losses": {}}]))
    (run / "held_out.jsonl").write_text(f'{text}\n{{"step": 30, "lo')
    page = show(run)
    titles = [one.read() for one in page.find_all("figcaption")]
    assert titles[:3] == ["Loss", "Loss, by source", "Held-out loss, by source"]
    charts = page.find_all("figure", class_="chart")
    assert {"training", "held out"} <= {one.read() for one in charts[0].find_all("text")}
    assert len(charts[0].find_all("path")) == len(charts[2].find_all("path")) == 2
    facts = {one.find_all("dt")[0].read(): one.find_all("dd")[0].read() for one in page.find_all("dl")[0].inside}
    assert facts["lowest held-out loss"] == "0.5 after step 10"
    (run / "held_out.jsonl").write_text("[]\n{}\n")
    with pytest.raises(ShardloomError, match=r"held_out\.jsonl: line 1 is damaged: it is no step"):
        show(run)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "no step is logged yet in metrics.jsonl"),
        (['{"step": 1, "lo'], "no step is logged yet in metrics.jsonl"),
        (["[[[", step(1)], "metrics.jsonl: line 1 is damaged: it is no step"),
        ([step(1), {"step": "2"}, step(3)], "metrics.jsonl: line 2 is damaged: it is no step"),
    ],
)
def test_runs_without_sound_steps(tmp_path: Path, lines: list[Any], message: str) -> None:
    with pytest.raises(ShardloomError, match=message):
        show(make_run(tmp_path, lines))


def test_options_of_sets(tmp_path: Path) -> None:
    run = make_run(tmp_path, [step(1)])
    with pytest.raises(UsageError, match=r"--key: .*/run is a training run, which holds no samples: leave it out"):
        show(run, key="x")
    (run / "metrics.jsonl").unlink()
    with pytest.raises(ShardloomError, match=r"no step is logged yet: it has no metrics\.jsonl"):
        show(run)
