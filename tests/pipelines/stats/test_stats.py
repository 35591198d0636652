"""Counts and times of runs, added up and printed."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from pipelines.cluster.ledger import StageCounts
from pipelines.output.totals import RunClock, RunTimes, read_times
from pipelines.stats.run import collect_stats
from pipelines.terminal.tables import print_stats
from schemas.errors import UsageError
from schemas.output_set.layout import STATS
from schemas.output_set.manifest import Manifest, seal
from schemas.storage.folder import Folder
from tests.pipelines.support.sets import annotation_set, caption_set, in_process, join


def test_chunks_are_counted_by_outcome() -> None:
    times = RunTimes()
    times.add_chunk(5, {"decode_error": 1, "too_small": 2}, {}, 100)
    times.add_chunk(3, {"decode_error": 1}, {"ocr": 2}, 50)
    times.add_chunk(2, {}, {"ocr": 1, "boxes": 1}, 50)
    assert times.rows == {"annotated": 6, "decode_error": 2, "too_small": 2}
    assert times.engine_errors == {"ocr": 3, "boxes": 1}
    assert times.bytes == 200


def test_runs_add_up(tmp_path: Path) -> None:
    output = Folder(str(tmp_path))
    counts = StageCounts(2, 8, 2, deaths=1, recycled=3, busy_seconds=1.5, offered_seconds=4, working_seconds=2)
    for shards in (1, 2):
        clock = RunClock()
        clock.times.add_chunk(8, {"too_small": 1}, {"ocr": 1}, 100)
        clock.times.shards = shards
        clock.times.resent = 5
        clock.times.stages = {"ocr": asdict(counts)}
        clock.stop(output)
    both = read_times(output)
    assert (both.runs, both.rows, both.engine_errors) == (2, {"annotated": 14, "too_small": 2}, {"ocr": 2})
    assert (both.bytes, both.shards, both.resent) == (200, 3, 10)
    assert both.stages == {"ocr": {name: 2 * value for name, value in asdict(counts).items()}}


def test_a_file_of_an_older_release(tmp_path: Path) -> None:
    stages = {"ocr": {"workers": 1, "images": 4}}
    old = {"runs": 1, "seconds": 2.0, "commit_seconds": 0.5, "stages": stages}
    (tmp_path / STATS).write_bytes(seal(old))
    assert read_times(Folder(str(tmp_path))) == RunTimes(1, 2.0, 0.5, stages)


def test_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    well = StageCounts(2, 1000, 10, busy_seconds=15, offered_seconds=20, working_seconds=10)
    badly = StageCounts(2, 990, 10, deaths=2, recycled=4, busy_seconds=5, offered_seconds=20, working_seconds=10)
    times = RunTimes(1, 12.0, 0.5, {"decode": asdict(well), "ocr": asdict(badly)}, {"annotated": 990}, {"ocr": 7})
    times.resent = 12
    found = {"outputs": 1, "rows_in": 1000, "rows_out": 990, "quarantined": 10, "reasons": {"decode_error": 10}}
    print_stats(found | {"counts": {}, "damaged": {}, "times": asdict(times)})
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[5:] == [
        "seconds 12.0 in 1 runs",
        "stage decode 1,000 images, 100.00/s, workers busy 75%",
        "stage ocr 990 images, 99.00/s, workers busy 25%, 2 deaths, 4 recycled",
        "errors of ocr 7 images",
        "retried 12 requests",
    ]


def test_names_from_a_set_steer_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Reasons, counts, outputs, stages and engines are what the set's files say."""
    evil = "\x1b]0;owned\x07[red]"
    (tmp_path / "recipe.yaml").write_text("kind: render\n")
    (tmp_path / "manifests").mkdir()
    made = Manifest.build(evil, "", inputs=[], rows_in=1, data=None, others=[], reasons=[evil], counts={evil: 3})
    made = made.model_copy(update={"damage": [evil], "unit_outputs": 2})
    (tmp_path / f"manifests/{evil}.json").write_bytes(made.to_json())
    times = asdict(RunTimes(1, 1.0, 0.0, {evil: {"images": 1.0, "deaths": 1.0}}, engine_errors={evil: 2}))
    (tmp_path / STATS).write_bytes(seal(times))
    found = collect_stats(str(tmp_path))
    assert found["missing"] == [f"{evil}_001"]
    print_stats(found)
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\x07" not in shown
    for what in ("", "damaged ", "missing ", "stage ", "errors of "):
        assert f"{what}\\x1b]0;owned\\x07[red]" in shown, what


@pytest.mark.parametrize(
    "times", [{"stages": []}, {"rows": {"a": "b"}}, {"runs": "many"}, {"stages": {"ocr": 3}}, {"seconds": None}]
)
def test_times_that_are_none_are_no_times(tmp_path: Path, times: dict[str, object]) -> None:
    (tmp_path / STATS).write_bytes(seal(times))
    assert read_times(Folder(str(tmp_path))) == RunTimes()


@pytest.mark.parametrize(
    "recipe", ["{kind: mix}", "{kind: mix, weights: 3, unit: samples}", "{kind: mix, weights: {a: 1}}"]
)
def test_a_mixture_that_is_none_is_named(tmp_path: Path, recipe: str) -> None:
    (tmp_path / "recipe.yaml").write_text(recipe)
    with pytest.raises(UsageError, match=r"recipe\.yaml is damaged: its mixture can't be read$"):
        collect_stats(str(tmp_path))


def test_rows_that_meet_a_condition(make_shards: Callable[..., str], tmp_path: Path) -> None:
    images = make_shards(tmp_path / "images", shards=2, samples=6)
    annotations = annotation_set(images, tmp_path / "annotations")
    assert collect_stats(str(annotations), "array_length(ocr) > 1")["matching"] == 6
    assert "matching" not in collect_stats(str(annotations))
    join(images, caption_set(annotations, tmp_path / "captions"), tmp_path / "training")
    assert collect_stats(str(tmp_path / "training"), "characters > 0 AND images = 1")["matching"] == 8
    done = in_process("stats", annotations, "--where", "width = 64")
    assert ["matching", "12"] in [line.split() for line in done.stdout.splitlines()]
    with pytest.raises(UsageError, match="--where: there is no column 'height_'"):
        collect_stats(str(annotations), "height_ = 1")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/recipe.yaml").write_text("kind: annotate\n")
    with pytest.raises(UsageError, match="has no rows in Parquet files to look at"):
        collect_stats(str(tmp_path / "empty"), "width = 1")
