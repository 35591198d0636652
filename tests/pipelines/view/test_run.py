"""The command: what it prints, what it refuses, and that the same set gives the same page."""

import json
from pathlib import Path

import pytest

from pipelines.view import ViewOptions, write_view
from schemas.errors import ShardloomError
from schemas.output_set.options import Options
from tests.conftest import REPOSITORY, jpeg, write_shard
from tests.pipelines.support.sets import annotation_set, in_process


@pytest.fixture(scope="module")
def annotations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("view")
    (folder / "images").mkdir()
    write_shard(folder / "images/00000000.tar", [jpeg(number) for number in range(6)])
    return annotation_set(f"{folder}/images/*.tar", folder / "annotations")


def test_the_page_is_named_after_the_set(annotations: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = in_process("view", f"{annotations}/", "--sample", "3")
    assert (done.returncode, done.stdout) == (0, "annotations.html: 3 samples, 0.0 MB; open it in a browser\n")
    assert [path.name for path in tmp_path.iterdir()] == ["annotations.html"]


def test_json_and_the_same_bytes_again(annotations: Path, tmp_path: Path) -> None:
    pages = [tmp_path / "one.html", tmp_path / "two.htm"]
    for page in pages:
        done = in_process("view", annotations, "-o", page, "--json")
        size = page.stat().st_size
        found = {"page": str(page), "kind": "annotate", "samples": 6, "quarantined": 0, "bytes": size, "notes": []}
        assert json.loads(done.stdout) == found
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_the_page_keeps_to_its_size(annotations: Path, tmp_path: Path) -> None:
    whole = write_view(str(annotations), str(tmp_path / "page.html")).bytes
    limit = whole * 0.8 / (1 << 20)
    done = in_process("view", annotations, "-o", tmp_path / "page.html", "--max-megabytes", limit)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "page.html").stat().st_size <= whole * 0.8
    assert "because the page has reached its size" in (tmp_path / "page.html").read_text()


WRONG_USE = {
    "view {tmp}/none": "{tmp}/none is not an output set: it has no recipe.yaml",
    "view {a} -o {tmp}/page.parquet": "--output {tmp}/page.parquet: a page is a file that ends with .html or .htm",
    "view {a} --sample 0 -o {tmp}/page.html": "view: sample: input should be greater than 0, not 0",
    "view {a} --images {tmp}/*.tar -o {tmp}/page.html": "no file matches {tmp}/*.tar",
    "view {tmp}/selected -o {tmp}/page.html": "{tmp}/selected is of the kind 'select'; view shows annotate, ",
    "view {a} --where key -o {tmp}/page.html": "--where: 'key' is String, not true or false: compare it with something",
    "view {a} --where key=1;x -o {tmp}/page.html": "--where: 'key=1;x' is no condition: ",
}


@pytest.mark.parametrize("command", WRONG_USE)
def test_wrong_use(annotations: Path, tmp_path: Path, command: str) -> None:
    (tmp_path / "selected").mkdir()
    (tmp_path / "selected/recipe.yaml").write_text("kind: select\n")
    done = in_process(*(word.format(a=annotations, tmp=tmp_path) for word in command.split()))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: " + WRONG_USE[command].format(tmp=tmp_path)), done.stderr
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("name", ["annotations", "captions", "plain", "training", "mixture", "tags"])
def test_sets_in_older_formats(name: str, tmp_path: Path) -> None:
    old = REPOSITORY / "tests/support/old_sets"
    totals = write_view(str(old / name), str(tmp_path / "page.html"), ViewOptions(images=[f"{old}/images/*.tar"]))
    assert totals.samples > 0
    assert "data:image/webp" in (tmp_path / "page.html").read_text()


def test_a_set_with_nothing_committed(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("kind: annotate\nengines: {}\n")
    with pytest.raises(ShardloomError, match="nothing is committed yet: run its command first"):
        write_view(str(tmp_path), str(tmp_path / "page.html"))


def test_the_options_are_typed() -> None:
    assert issubclass(ViewOptions, Options)
    assert (ViewOptions().sample, ViewOptions().max_bytes) == (60, 15 << 20)


def test_the_page_of_a_folder_above(annotations: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (annotations / "data/below").mkdir()
    monkeypatch.chdir(annotations / "data/below")
    done = in_process("view", "../..", "--sample", "1", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["page"] == "view.html"
