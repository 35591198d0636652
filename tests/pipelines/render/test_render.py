"""Captions from annotations: what other libraries read, the same bytes always, no engine, no harm done by any text."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from datasets import load_dataset

from pipelines.cli.app import main
from pipelines.recipes.base import RunOptions
from pipelines.recipes.render import RenderRecipe
from pipelines.render.run import preview_record, render_set
from pipelines.verify.run import verify
from schemas.errors import ShardloomError, UsageError
from schemas.layouts.blip3_ocr import parse_captions, parse_metadata, parse_segments
from tests.conftest import REPOSITORY, jpeg, write_shard
from tests.pipelines.support.drivers import hashes
from tests.pipelines.support.sets import ALONE, annotation_set, caption_set, every_file, line, lines_of, rows

SHARDS, SAMPLES = 3, 20
KEYS = [f"{10_000 * shard + number:012d}" for shard in range(SHARDS) for number in range(SAMPLES)]
WITH_TEXT = [key for key in KEYS if lines_of(key)]

HOSTILE = [
    'say "hi"\\',
    "</ocr><bbox>[0.0, 0.0][1.0, 1.0]</bbox>",
    "two\nlines\r\nand\ta tab",
    "[red]no[/red] [/] [link=http://x]",
    "\x1b[2J\x1b]0;title\x07\x9b31m",
    "\x00\x08\x7f\u2028\u202edrawkcab",
    ":heart: The image contains the text",
]


@pytest.fixture(scope="module")
def annotations(make_shards: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("render")
    return annotation_set(make_shards(folder / "images", SHARDS, SAMPLES), folder / "annotations")


@pytest.fixture(scope="module")
def captions(annotations: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return caption_set(annotations, tmp_path_factory.mktemp("captions") / "out")


def test_bytes_are_the_same_wherever_the_images_lay(
    annotations: Path, captions: Path, make_shards: Callable[..., str], tmp_path: Path
) -> None:
    other = annotation_set(make_shards(tmp_path / "elsewhere", SHARDS, SAMPLES), tmp_path / "annotations")
    assert (other / "recipe.yaml").read_bytes() != (annotations / "recipe.yaml").read_bytes()
    assert hashes(caption_set(other, tmp_path / "out") / "data") == hashes(captions / "data")


def test_datasets_and_polars_read_the_captions(captions: Path, tmp_path: Path) -> None:
    files = f"{captions}/data/*.parquet"
    loaded = load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path))
    assert loaded["key"] == WITH_TEXT
    assert pl.read_parquet(files).to_dicts() == loaded.to_list() == rows(captions)
    assert loaded.column_names == ["uid", "url", "key", "sha256", "captions", "metadata"]
    for row in loaded:
        found = [one.text for one in lines_of(row["key"])]
        items = parse_captions(row["captions"])
        order = [(item.granularity, item.include_datacomp_raw_cap) for item in items]
        assert order == [(number, raw) for raw in (False, True) for number in range(6)]
        for item in items:
            assert [part.text for part in parse_segments(item.text, item.granularity)] == found
            assert item.text.startswith(f"picture {row['key']}. The") == item.include_datacomp_raw_cap
        assert [entry.text for entry in parse_metadata(row["metadata"])] == found


def test_rows_without_text_are_quarantined(captions: Path) -> None:
    assert [row["key"] for row in rows(captions, "quarantine")] == [key for key in KEYS if key not in WITH_TEXT]
    left_out = rows(captions, "quarantine")[0]
    assert (left_out["stage"], left_out["reason"]) == ("render", "too_few_lines")
    assert left_out["detail"] == "fewer than 1 lines of confidence 0 or more"
    assert verify(str(captions)) == (SHARDS, [])


@pytest.mark.parametrize(("floor", "least"), [(0.5, 1), (0.5, 2), (0.75, 1), (0.9, 1), (0.0, 4)])
def test_floors(annotations: Path, tmp_path: Path, floor: float, least: int) -> None:
    recipe = RenderRecipe(input=str(annotations), min_confidence=floor, min_lines=least, run=ALONE)
    totals = render_set(recipe, str(tmp_path / "out"))
    kept = {key: [one.text for one in lines_of(key) if one.confidence >= floor] for key in KEYS}
    expected = [key for key in KEYS if len(kept[key]) >= least]
    found = rows(tmp_path / "out")
    assert [row["key"] for row in found] == expected
    assert [[entry.text for entry in parse_metadata(row["metadata"])] for row in found] == [kept[k] for k in expected]
    assert (totals.rows_in, totals.rows_out) == (60, len(expected))
    assert totals.reasons == {"too_few_lines": 60 - len(expected)}
    assert totals.counts == {"captions": 12 * len(expected)}


@pytest.mark.parametrize("raw", ["with", "without", "both"])
def test_granularities_and_raw_captions_are_chosen(annotations: Path, tmp_path: Path, raw: str) -> None:
    flags = ["--granularity", "4", "--granularity", "0", "--raw-caption", raw, "--workers", "1"]
    with pytest.raises(SystemExit) as done:
        main(["render", "ocr", str(annotations), "--output", str(tmp_path / "out"), *flags])
    assert done.value.code == 0
    bools = {"with": [True], "without": [False], "both": [False, True]}[raw]
    for row in rows(tmp_path / "out"):
        items = [(item.granularity, item.include_datacomp_raw_cap) for item in parse_captions(row["captions"])]
        assert items == [(number, flag) for flag in bools for number in (0, 4)]


def test_rendering_calls_no_engine_and_leaves_annotations_alone(annotations: Path, tmp_path: Path) -> None:
    before = every_file(annotations)
    script = (
        "import sys\nfrom pipelines.cli.app import main\ntry:\n    main(sys.argv[1:])\nfinally:\n"
        "    print(sorted({name.split('.')[0] for name in sys.modules} & "
        "{'rapidocr', 'onnxruntime', 'ray', 'cv2', 'torch'}))"
    )
    flags = ["--output", str(tmp_path / "out"), "--workers", "1"]
    command = [sys.executable, "-c", script, "render", "ocr", str(annotations), *flags]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert every_file(annotations) == before
    assert verify(str(tmp_path / "out")) == (SHARDS, [])


def test_rendering_again_gives_the_same_bytes(annotations: Path, captions: Path, tmp_path: Path) -> None:
    assert hashes(caption_set(annotations, tmp_path / "again")) == hashes(captions)


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
def test_two_workers_give_the_same_bytes(annotations: Path, captions: Path, tmp_path: Path) -> None:
    render_set(RenderRecipe(input=str(annotations), run=RunOptions(workers=2)), str(tmp_path / "two"))
    assert hashes(tmp_path / "two") == hashes(captions)


def test_a_half_done_rendering_goes_on(annotations: Path, captions: Path, tmp_path: Path) -> None:
    out = caption_set(annotations, tmp_path / "out")
    (out / "manifests/00000001.json").unlink()
    (out / "data/00000001.parquet").write_bytes(b"half")
    (out / "data/00000002.parquet.tmp-1234abcd").write_bytes(b"left by a kill")
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*.*") if path.parent != out}
    caption_set(annotations, out)
    assert hashes(out) == hashes(captions)
    again = {path.name for path, time in times.items() if path.exists() and path.stat().st_mtime_ns != time}
    assert again == {"00000001.parquet"}


def test_annotations_made_anew_are_refused(annotations: Path, tmp_path: Path) -> None:
    images, made = f"{annotations.parent}/images/*.tar", tmp_path / "annotations"
    annotation_set(images, made)
    out = caption_set(made, tmp_path / "out")
    for path in sorted(made.rglob("*.*")):
        path.unlink()
    annotation_set(images, made, lambda key: [line(key)])
    with pytest.raises(UsageError, match=r"the annotations have changed since .*00000000 was committed"):
        caption_set(made, out)


def test_a_changed_annotation_file_is_refused(annotations: Path, tmp_path: Path) -> None:
    made = annotation_set(f"{annotations.parent}/images/*.tar", tmp_path / "annotations")
    data = made / "data/00000001.parquet"
    data.write_bytes(data.read_bytes()[:-1] + b"?")
    with pytest.raises(ShardloomError, match=r"00000001\.parquet is not as it was committed"):
        caption_set(made, tmp_path / "out")


def test_captions_are_no_annotations(captions: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not an annotation set: its kind is 'render'"):
        caption_set(captions, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_preview_is_what_the_bulk_writes(annotations: Path, captions: Path) -> None:
    recipe = RenderRecipe(input=str(annotations))
    for row in rows(captions)[::7]:
        for key in (row["key"], row["uid"], f"{KEYS.index(row['key']) // SAMPLES:08d}/{row['key']}"):
            assert preview_record(recipe, key) == parse_captions(row["captions"])
    with pytest.raises(UsageError, match="has no annotation with the key or uid 'nothing'"):
        preview_record(recipe, "nothing")
    with pytest.raises(UsageError, match="has no annotation with the key"):
        preview_record(recipe, f"00000001/{WITH_TEXT[0]}")


def test_an_empty_shard_hides_no_record(tmp_path: Path) -> None:
    write_shard(tmp_path / "00000000.tar", [])
    write_shard(tmp_path / "00000001.tar", [jpeg(1)], first=1)
    made = annotation_set(f"{tmp_path}/*.tar", tmp_path / "annotations")
    assert len(preview_record(RenderRecipe(input=str(made)), "000000000001")) == 12
    assert [row["key"] for row in rows(caption_set(made, tmp_path / "out"))] == ["000000000001"]
    assert verify(str(tmp_path / "out")) == (2, [])


def test_hostile_text_survives_and_steers_no_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shard(tmp_path / "00000000.tar", [jpeg(1)])
    made = annotation_set(f"{tmp_path}/*.tar", tmp_path / "annotations", lambda _: [line(text) for text in HOSTILE])
    row = rows(caption_set(made, tmp_path / "out"))[0]
    assert [entry.text for entry in parse_metadata(row["metadata"])] == HOSTILE
    for item in parse_captions(row["captions"]):
        if not item.include_datacomp_raw_cap:
            assert [part.text for part in parse_segments(item.text, item.granularity)] == HOSTILE

    monkeypatch.setenv("COLUMNS", "4000")
    monkeypatch.setenv("TERM", "dumb")
    preview = ["render", "ocr", str(made), "--preview", "000000000000", "--raw-caption", "without"]
    with pytest.raises(SystemExit) as done:
        main(preview)
    assert done.value.code == 0
    table = capsys.readouterr().out.splitlines()
    assert all(text.isprintable() for text in table)
    assert len(table) == 3 + 2 * 6  # frame, head and a rule, then a line and a rule a caption
    assert len({len(text) for text in table}) == 1
    for shown in (r"\x1b[2J\x1b]0;title\x07\x9b31m", r"two\nlines\r\nand\ta tab", r"\u2028\u202edrawkcab", ":heart:"):
        assert shown in table[3]
    assert "[red]no[/red] [/] [link=http://x]" in table[3]
    with pytest.raises(SystemExit):
        main([*preview, "--json"])
    texts = [item["text"] for item in json.loads(capsys.readouterr().out)]
    assert texts == [item.text for item in parse_captions(row["captions"]) if not item.include_datacomp_raw_cap]


def test_a_terminal_gets_no_escape_of_an_image(tmp_path: Path) -> None:
    """The same on a terminal, where the table has colours of its own."""
    write_shard(tmp_path / "00000000.tar", [jpeg(1)])
    made = annotation_set(f"{tmp_path}/*.tar", tmp_path / "annotations", lambda _: [line("\x1b[2J\x9b31m[red]x[/red]")])
    environment = os.environ | {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "400"}
    command = [sys.executable, "-m", "pipelines.render", "ocr", str(made), "--preview", "000000000000"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True, env=environment)
    assert r"\x1b[2J\x9b31m[red]x[/red]" in done.stdout
    assert "\x1b[2J" not in done.stdout
    assert "\x9b" not in done.stdout
