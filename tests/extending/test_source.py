"""A source of a user's own: trusted or installed, it is read as ours are, and refused in one line."""

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.extending.conftest import Run
from tests.extending.support.installed import install
from tests.pipelines.support.drivers import hashes
from tests.pipelines.support.sets import shardloom

FILE = REPOSITORY / "tests/extending/lines_source.py"
TRUST = ("--trust-code", "lines_source:LINES")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with the source's file and a set of its kind: four rows, one of them without a tab."""
    (folder := tmp_path / "work").mkdir()
    shutil.copy(FILE, folder)
    (folder / "a.tsv").write_text("one\tThe first.\ntwo\tThe second.\nthree\n")
    (folder / "b.tsv").write_text("four\tThe fourth.\n")
    return folder


def test_it_is_ingested(folder: Path, run: Run) -> None:
    for name in ("lines", "lines_source:LINES"):
        code, out, error = run("ingest", name, "-i", "*.tsv", "-o", f"out-{name}", "--workers", 1, *TRUST)
        assert code == 0, error
        assert out == f"out-{name}: 4 rows in, 3 out, 1 quarantined (1 malformed_row)\n"
        manifests = sorted((folder / f"out-{name}/manifests").glob("*.json"))
        assert [json.loads(path.read_text())["rows_out"] for path in manifests] == [2, 1]
    data = [
        {name: sha256 for name, sha256 in hashes(folder / f"out-{one}").items() if name.startswith(("data", "index"))}
        for one in ("lines", "lines_source:LINES")
    ]
    assert len(data[0]) == 4
    assert data[0] == data[1], "the set has its own name in the index, however it is asked for"


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
def test_it_is_listed(run: Run) -> None:
    _, printed, _ = run("engines", *TRUST)
    lines = printed.splitlines()
    place = lines.index("source   lines               ready")
    assert lines[place + 1] == "         from:    --trust-code lines_source:LINES"


@pytest.mark.slow
def test_workers_need_its_file_only(folder: Path) -> None:
    for workers in (1, 2):
        command = ("ingest", "lines", "-i", "*.tsv", "-o", f"out-{workers}", "--workers", workers)
        done = shardloom(*command, *TRUST, cwd=folder)
        assert done.returncode == 0, done.stderr
    assert hashes(folder / "out-1") == hashes(folder / "out-2")


def test_an_installed_one_needs_no_word(
    folder: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = install(tmp_path / "site", "lines_set", {"shardloom.sources lines": "lines_source:LINES"}, FILE)
    broken = install(tmp_path / "broken", "no_set", {"shardloom.sources words": "words_source:WORDS"})
    (folder / "lines_source.py").unlink()
    for path in (site, broken):
        monkeypatch.syspath_prepend(str(path))  # as PYTHONPATH does
    options = ("-i", "*.tsv", "-o", "out", "--workers", 1)
    code, out, error = run("ingest", "lines", *options)
    assert (code, out) == (0, "out: 4 rows in, 3 out, 1 quarantined (1 malformed_row)\n"), error
    assert run("ingest", "words", *options) == (
        2,
        "",
        "error: recipe: source: source words of no_set 1.0: cannot load words_source:WORDS: "
        "ModuleNotFoundError: No module named 'words_source'\n",
    )


@pytest.mark.parametrize(
    ("source", "trusted", "line"),
    [
        (
            "lines_source:LINES",
            [],
            "recipe: source: no source is named 'lines_source:LINES': "
            "pass --trust-code lines_source:LINES if you trust that code",
        ),
        (
            "lines",
            ["--trust-code", "line_source:LINES"],
            "--trust-code line_source:LINES: cannot import line_source: ModuleNotFoundError: "
            "No module named 'line_source'; it must be in the working folder, on PYTHONPATH or installed",
        ),
        (
            "lines",
            ["--trust-code", "lines_source:read"],
            "--trust-code lines_source:read: it must be of class SourceReader, not function",
        ),
    ],
)
def test_what_is_wrong_is_one_line(folder: Path, run: Run, source: str, trusted: list[str], line: str) -> None:
    assert run("ingest", source, "-i", "*.tsv", "-o", "out", *trusted) == (2, "", f"error: {line}\n")
    assert not (folder / "out").exists()
