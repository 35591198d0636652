"""Sets of an earlier version: today's commands verify, read, finish and reproduce them, byte for byte."""

import json
import re
import shutil
from pathlib import Path

import pytest

from pipelines.cli.app import main
from tests.conftest import REPOSITORY

OLD = REPOSITORY / "tests" / "support" / "old_sets"
SETS = ("annotations", "tags", "captions", "training", "plain", "mixture")
COMMANDS = {
    "annotations": ["annotate", "ocr", "--input", "images/*.tar"],
    "tags": ["annotate", "tags", "--input", "images/*.tar"],
    "captions": ["render", "ocr", "annotations"],
    "training": ["shard", "--images", "images/*.tar", "--captions", "captions", "--samples-per-shard", "2"],
    "plain": ["ingest", "datacomp", "--input", "images/*.tar", "--samples-per-shard", "2"],
    "mixture": ["mix", "mix.yaml"],
}
ON_RAY = [pytest.mark.ray, pytest.mark.xdist_group("ray")]
MADE_AGAIN = [
    *("captions", "training", "plain", "mixture"),
    pytest.param("tags", marks=ON_RAY),  # a text detector's floats may differ between processors, words don't
]


@pytest.fixture(autouse=True)
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the old sets, as the working folder."""
    shutil.copytree(OLD, tmp_path / "sets")
    monkeypatch.chdir(tmp_path / "sets")
    return tmp_path / "sets"


def shardloom(*arguments: str) -> int:
    """The exit code of a command in this process."""
    with pytest.raises(SystemExit) as done:
        main(list(arguments))
    assert isinstance(done.value.code, int)
    return done.value.code


def make(kind: str, output: str) -> int:
    """Runs the command that has made the set."""
    return shardloom(*COMMANDS[kind], "--output", output, "--workers", "1")


def content(folder: Path) -> dict[str, bytes]:
    """The files that hold the set's rows, and its recipe."""
    kept = ("data", "index", "quarantine", "recipe.yaml")
    files = (path for path in folder.rglob("*") if path.is_file())
    found = {str(path.relative_to(folder)): path.read_bytes() for path in files}
    return {name: data for name, data in found.items() if name.split("/")[0] in kept}


@pytest.mark.parametrize("kind", SETS)
def test_verify_and_stats(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert shardloom("verify", kind) == 0
    outputs = len(list((OLD / kind / "manifests").iterdir()))
    assert capsys.readouterr().out == f"{kind}: {outputs} outputs are as they were committed\n"
    assert shardloom("stats", kind, "--json") == 0
    counted = json.loads(capsys.readouterr().out)
    manifests = [json.loads(path.read_text()) for path in (OLD / kind / "manifests").iterdir()]
    assert counted["rows_in"] == sum(manifest["rows_in"] for manifest in manifests)
    assert counted["rows_out"] == sum(manifest["rows_out"] for manifest in manifests)


@pytest.mark.parametrize("kind", MADE_AGAIN)
def test_made_anew(kind: str, sets: Path) -> None:
    assert make(kind, "new") == 0
    assert content(sets / "new") == content(OLD / kind)


@pytest.mark.parametrize("kind", SETS)
def test_a_finished_set_is_left_alone(kind: str, sets: Path) -> None:
    folders = ("data", "index", "quarantine", "manifests")
    times = {path: path.stat().st_mtime_ns for name in folders for path in (sets / kind / name).glob("*")}
    assert make(kind, kind) == 0
    assert {path: path.stat().st_mtime_ns for name in folders for path in (sets / kind / name).glob("*")} == times
    assert content(sets / kind) == content(OLD / kind)


@pytest.mark.parametrize("kind", MADE_AGAIN)
def test_an_unfinished_set_is_finished(kind: str, sets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lost = sets / kind / "manifests" / "00000001.json"
    for output in json.loads(lost.read_text())["outputs"]:
        (sets / kind / output["path"]).unlink()
    lost.unlink()
    kept = {path: path.stat().st_mtime_ns for path in (sets / kind / "data").glob("00000000*")}
    assert make(kind, kind) == 0
    assert content(sets / kind) == content(OLD / kind)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    capsys.readouterr()
    assert shardloom("verify", kind) == 0
    assert re.fullmatch(rf"{kind}: \d outputs are as they were committed\n", capsys.readouterr().out)
