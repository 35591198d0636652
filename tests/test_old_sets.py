"""Sets of an earlier version: today's commands verify, read, finish and reproduce them, byte for byte."""

import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from pipelines.cli.app import main
from tests.conftest import REPOSITORY

OLD = REPOSITORY / "tests" / "support" / "old_sets"
SETS = ("annotations", "tags", "captions", "training", "plain", "mixture", "referring")
COMMANDS = {
    "annotations": ["annotate", "ocr", "--input", "images/*.tar"],
    "tags": ["annotate", "tags", "--input", "images/*.tar"],
    "captions": ["render", "ocr", "annotations"],
    "training": ["shard", "--images", "images/*.tar", "--captions", "captions", "--samples-per-shard", "2"],
    "referring": [
        *("shard", "--images", "images/*.tar", "--captions", "captions", "--samples-per-shard", "2", "--by-reference")
    ],
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
    assert capsys.readouterr().out == f"{kind}: outputs as they were committed: {outputs} of {outputs}\n"
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
    assert re.fullmatch(rf"{kind}: outputs as they were committed: (\d) of \1\n", capsys.readouterr().out)


def split_content(folder: Path) -> tuple[dict[str, bytes], list[dict[str, Any]]]:
    """The content of a set by reference without its indexes, and the rows of these with the names of the tars alone."""
    files = content(folder)
    indexes = [files.pop(name) for name in sorted(files) if name.startswith("index/")]
    rows = [row for data in indexes for row in pq.read_table(io.BytesIO(data)).to_pylist()]
    for reference in (reference for row in rows for reference in row["references"]):
        reference["tar"] = reference["tar"].rpartition("/")[2]
    return files, rows


def test_a_set_by_reference_is_made_anew_and_finished(sets: Path) -> None:
    """Its index names the folder in which it is made."""
    known = split_content(OLD / "referring")
    assert [len(part) for part in known] == [7, 5]
    assert make("referring", "new") == 0
    assert split_content(sets / "new") == known
    for path in [*(sets / "referring").glob("*/00000001.*")]:
        path.unlink()
    assert make("referring", "referring") == 0
    assert split_content(sets / "referring") == known
    assert shardloom("verify", "referring") == 0


def test_a_set_by_reference_is_copied_with_its_images(sets: Path) -> None:
    """The copy is the set that was made of the same images without references, byte for byte."""
    assert shardloom("shard", "--materialise", "referring", "--output", "copy", "--workers", "1") == 0
    assert content(sets / "copy") == content(OLD / "training")
    (sets / "images").rename(sets / "elsewhere")
    assert shardloom("verify", "referring") == 1
    assert shardloom("verify", "referring", "--images", "elsewhere") == 0


def test_a_mixture_of_a_set_by_reference(sets: Path) -> None:
    recipe = (sets / "mix.yaml").read_text()
    for name, source in ("copied", "training"), ("referred", "referring"):
        (sets / f"{name}.yaml").write_text(recipe.replace("training", source))
        flags = ["--materialise"] if name == "referred" else []
        assert shardloom("mix", f"{name}.yaml", "--output", name, "--workers", "1", *flags) == 0
    copied, referred = (content(sets / name) for name in ("copied", "referred"))
    del copied["recipe.yaml"], referred["recipe.yaml"]
    assert referred == copied


def read_text(folder: Path) -> list[list[str]]:
    """The text lines of each picture, in their order."""
    files = sorted((folder / "data").iterdir())
    return [[line["text"] for line in lines] for file in files for lines in pq.read_table(file)["ocr"].to_pylist()]


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
def test_an_unfinished_set_of_text_lines_is_finished_in_its_order(sets: Path) -> None:
    """It is older than the option `reading_order`, whose default would read its columns one after the other."""
    lost = sets / "annotations/manifests/00000001.json"
    was = json.loads(lost.read_text())
    for path in (*(sets / "annotations" / output["path"] for output in was["outputs"]), lost):
        path.unlink()
    assert make("annotations", "annotations") == 0
    found = json.loads(lost.read_text())
    assert (found["recipe_sha256"], found["fingerprints"]) == (was["recipe_sha256"], was["engines"])
    assert read_text(sets / "annotations") == read_text(OLD / "annotations")
    assert (sets / "annotations/recipe.yaml").read_bytes() == (OLD / "annotations/recipe.yaml").read_bytes()


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.xdist_group("ray")
def test_engines_are_added_to_a_set_of_text_lines(sets: Path) -> None:
    for _ in range(2):  # the second time, there is nothing to do
        assert shardloom("annotate", "annotations", "--add", "tags", "--output", "more", "--workers", "1") == 0
    assert read_text(sets / "more") == read_text(OLD / "annotations")
    stored = yaml.safe_load((sets / "more/recipe.yaml").read_text())
    assert stored["engines"]["ocr"]["settings"] == {"reading_order": "lines"}
    made = json.loads((sets / "more/manifests/00000000.json").read_text())["fingerprints"]["ocr"]
    assert made == json.loads((OLD / "annotations/manifests/00000000.json").read_text())["engines"]["ocr"]
