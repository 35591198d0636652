"""A training run as a page: its loss, also that of held-out samples, in all and by source."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.view.kinds.training_runs import read_steps
from pipelines.view.options import ViewOptions
from pipelines.view.run import write_view
from schemas.errors import ShardloomError, UsageError
from schemas.storage.folder import Folder
from tests.pipelines.support.pages import Element, read_page
from tests.pipelines.support.viewed import make_run, step


def show(run: Path, **options: Any) -> Element:
    page = run.parent / "page.html"
    write_view(str(run), str(page), ViewOptions.model_validate(options))
    return read_page(page.read_bytes())


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


def test_held_out_samples_of_the_best_checkpoint(tmp_path: Path) -> None:
    run = make_run(tmp_path, [step(1)])
    where = {"source": "ocr", "shard": "00000000", "key": "k"}
    lines = [
        {"step": 1, **where, "prompt": "old", "expected": "old", "generated": "old"},
        {"step": 3, **where, "prompt": "It says", "expected": " stop", "generated": "<b>go</b>"},
        {"step": 3, "source": "docs", "generated": "x"},
    ]
    (run / "held_out_samples.jsonl").write_text("\n".join(map(json.dumps, lines)))
    page = show(run)
    section = page.find_all("section", class_="cards")[0]
    title = "Held-out samples how the model of the lowest held-out loss, after step 3, continues them"
    assert section.find_all("h2")[0].read() == title
    first, second = section.find_all("article")
    assert [one.find_all("h2")[0].read() for one in (first, second)] == ["ocr/00000000/k", "docs"]
    assert [one.read() for one in first.find_all("p", class_="body")] == ["It says", "<b>go</b>", " stop"]
    assert [one.read() for one in second.find_all("h4")] == ["The model writes"]


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


@pytest.mark.parametrize(
    ("lines", "most", "expected"),
    [
        (10, None, list(range(1, 11))),
        (10, 10, list(range(1, 11))),
        (10, 4, [1, 4, 7, 9, 10]),
        (11, 4, [1, 4, 7, 10, 11]),
        (3, 1, [1, 2, 3]),
    ],
)
def test_some_steps_of_a_long_run(tmp_path: Path, lines: int, most: int | None, expected: list[int]) -> None:
    run = Folder(str(make_run(tmp_path, [step(number) for number in range(1, lines + 1)])))
    assert [one["step"] for one in read_steps(run, "metrics.jsonl", most)] == expected


def test_a_long_run_that_is_writing_its_last_step(tmp_path: Path) -> None:
    run = Folder(str(make_run(tmp_path, [*(step(number) for number in range(1, 11)), '{"step": 11, "lo'])))
    assert [one["step"] for one in read_steps(run, "metrics.jsonl", 3)] == [1, 5, 9, 10]


def test_numbers_that_no_float_holds(tmp_path: Path) -> None:
    page = show(make_run(tmp_path, [step(1) | {"losses": {"a": 10**400}, "loss": -(10**400)}, step(2), step(3)]))
    assert len(page.find_all("path")) > 0
    (tmp_path / "other").mkdir()
    with pytest.raises(ShardloomError, match="line 1 is damaged: it is no step"):
        show(make_run(tmp_path / "other", [{"step": 10**400}, step(2)]))
