"""A family of captions in one file of a user's: rendered, previewed, sharded, and refused where it is broken."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from curation.captions.families import FAMILIES
from pipelines.cli.app import main
from schemas.layouts.blip3_ocr import parse_captions
from tests.conftest import REPOSITORY
from tests.pipelines.support.drivers import hashes
from tests.pipelines.support.jobs import job_cluster
from tests.pipelines.support.sets import annotation_set, lines_of, rows, shardloom
from tests.support.registries import forget

FAMILY = Path(__file__).with_name("line_counts.py")
TRUST = ("--trust-code", "line_counts:LINE_COUNTS")
KEYS = [f"{10_000 * shard + number:012d}" for shard in range(2) for number in range(10)]
GOOD = [key for key in KEYS if lines_of(key)]


@pytest.fixture(scope="module")
def home(make_shards: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with the family's file, images, and their annotations."""
    folder = tmp_path_factory.mktemp("home")
    shutil.copy(FAMILY, folder)
    annotation_set(make_shards(folder / "images", 2, 10), folder / "annotations")
    return folder


@pytest.fixture(scope="module")
def captions(home: Path) -> Path:
    """What one process renders."""
    done = render(home, "captions", *TRUST, "--workers", "1")
    assert (done.returncode, done.stdout) == (0, "captions: 20 rows in, 16 out, 4 quarantined (4 too_few_lines)\n")
    return home / "captions"


def render(home: Path, output: str, *flags: str) -> "subprocess.CompletedProcess[str]":
    return shardloom("render", "line-counts", "annotations", "--output", output, *flags, cwd=home)


Here = Callable[..., tuple[object, str, str]]


@pytest.fixture
def here(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """Runs a command in this process, which trusts nothing yet; exit code, output and errors."""
    monkeypatch.chdir(home)
    forget(monkeypatch, FAMILIES)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "line_counts", raising=False)

    def run(*arguments: str) -> tuple[object, str, str]:
        with pytest.raises(SystemExit) as done:
            main(list(arguments))
        return done.value.code, *capsys.readouterr()

    return run


SHARD = ("shard", "--images", "images/*.tar", "--captions", "captions", "--workers", "1", "--samples-per-shard", "6")


def text_of(key: str) -> str:
    count = len(lines_of(key))
    return f"{count} line{'s' * (count != 1)} of text"


def test_its_captions_are_rendered(captions: Path) -> None:
    found = rows(captions)
    assert [row["key"] for row in found] == GOOD
    for row in found:
        size = "much text" if len(lines_of(row["key"])) > 1 else "little text"
        texts = [text_of(row["key"]), size]
        expected = [*texts, *(f"picture {row['key']}. {text}" for text in texts)]
        assert [item.text for item in parse_captions(row["captions"])] == expected
    assert yaml.safe_load((captions / "recipe.yaml").read_text()) == {
        "kind": "render",
        "family": "line-counts",
        "input": "annotations",
        "granularities": [0, 1],
        "raw_caption": "both",
        "min_confidence": 0.0,
        "min_lines": 1,
        "noun": "line",
    }
    metadata = pq.read_schema(captions / "data/00000000.parquet").metadata
    assert sorted(metadata) == [b"source_revision", b"template_version"]


def test_it_is_listed(here: Here) -> None:
    _, printed, _ = here("engines", *TRUST, "--json")
    [found] = [one for one in json.loads(printed) if one["kind"] == "family"]
    assert (found["engine"], found["origin"], found["is_ready"]) == ("line-counts", " ".join(TRUST), True)


def test_one_record_is_previewed_with_its_options(here: Here) -> None:
    flags = (*TRUST, "--option", "noun=row", "--granularity", "0", "--raw-caption", "without", "--json")
    code, out, err = here("render", "line-counts", "annotations", *flags, "--preview", "000000000002")
    assert (code, err) == (0, "")
    assert json.loads(out) == [{"text": "3 rows of text", "granularity": 0, "include_datacomp_raw_cap": False}]


def test_its_captions_are_sharded(home: Path, captions: Path) -> None:
    done = shardloom(*SHARD, "--output", "training", *TRUST, "--format", "parquet", cwd=home)
    assert (done.returncode, done.stdout) == (0, "training: 20 rows in, 16 out, 4 quarantined (4 no_caption)\n")
    samples = rows(home / "training")
    assert [sample["text"] for sample in samples] == [text_of(key) for key in GOOD]
    assert [sample["captions"] for sample in samples] == [row["captions"] for row in rows(captions)]
    assert {row["source"] for row in rows(home / "training", "index")} == {"line-counts"}


@pytest.mark.usefixtures("captions")
def test_a_set_of_a_family_that_is_not_known_is_refused(here: Here, home: Path) -> None:
    code, _, err = here(*SHARD, "--output", "refused")
    assert (code, err) == (
        2,
        "error: captions holds captions of the family 'line-counts', which is not known here: install what "
        "declares it, or pass --trust-code package.module:Name\n",
    )
    code, _, err = here(*SHARD, "--output", "refused", *TRUST, "--granularity", "2")
    assert (code, err) == (2, "error: granularity: line-counts captions have 0 to 1, not 2\n")
    assert not (home / "refused").exists()


@pytest.mark.parametrize(
    ("flags", "fault"),
    [
        ((), "no family of captions is named 'line-counts': use one of ocr, grounding, knowledge, conversations"),
        (
            ("--trust-code", "nowhere:LINE_COUNTS"),
            "--trust-code nowhere:LINE_COUNTS: cannot import nowhere: ModuleNotFoundError: No module named 'nowhere'; "
            "it must be in the working folder, on PYTHONPATH or installed",
        ),
        (("--trust-code", "line_counts:NOTHING"), "--trust-code line_counts:NOTHING: line_counts has no NOTHING"),
        (
            ("--trust-code", "line_counts:count_lines"),
            "--trust-code line_counts:count_lines: it must be of class CaptionFamily, not function",
        ),
        ((*TRUST, "--option", "colour=red"), "recipe: unknown key colour"),
        ((*TRUST, "--min-boxes", "2"), "recipe: unknown key min_boxes"),
        ((*TRUST, "--option", "noun"), "--option: 'noun' is not KEY=VALUE"),
        ((*TRUST, "--option", "noun=[1"), "--option noun: '[1' is not a YAML value"),
        ((*TRUST, "--option", "min_lines=0"), "recipe: min_lines: input should be greater than 0, not 0"),
        ((*TRUST, "--granularity", "2"), "recipe: granularities.0: input should be less than or equal to 1, not 2"),
        (
            (*TRUST, "--recipe", "ocr.yaml"),
            "recipe ocr.yaml: family: it is 'ocr', but the command asks for 'line-counts'",
        ),
    ],
)
def test_what_is_broken_is_refused_in_one_line(here: Here, home: Path, flags: tuple[str, ...], fault: str) -> None:
    (home / "ocr.yaml").write_text("family: ocr\n")
    code, out, err = here("render", "line-counts", "annotations", "--output", "broken", *flags)
    assert (code, out, err) == (2, "", f"error: {fault}\n")
    assert not (home / "broken").exists()


def test_columns_that_its_layout_does_not_have_are_one_line(
    here: Here, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "line_counts.py").write_text(FAMILY.read_text().replace('"metadata": pa', '"meta": pa'))
    monkeypatch.chdir(tmp_path)
    flags = ("--output", str(tmp_path / "out"), *TRUST, "--workers", "1")
    code, _, err = here("render", "line-counts", str(home / "annotations"), *flags)
    assert code == 1
    fault = "error: the family line-counts renders other columns than its layout has: "
    assert err.splitlines()[-1].startswith(fault)


def test_an_installed_one_needs_no_trust(home: Path, captions: Path, tmp_path: Path) -> None:
    about = tmp_path / "line_counts-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: line-counts\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[shardloom.captions]\nline-counts = line_counts:LINE_COUNTS\n")
    shutil.copy(FAMILY, tmp_path)
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    (tmp_path / "work").mkdir()
    flags = ("--output", str(tmp_path / "out"), "--workers", "1")
    for family, code in (("line-counts", 0), ("else", 2)):
        done = shardloom("render", family, "annotations", *flags, cwd=home, env=os.environ | {"PYTHONPATH": path})
        assert done.returncode == code
    assert "use one of ocr, grounding, knowledge, conversations, line-counts" in done.stderr
    assert hashes(tmp_path / "out") == hashes(captions)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.xdist_group("ray")
def test_two_workers_give_the_same_bytes(home: Path, captions: Path) -> None:
    done = render(home, "two", *TRUST, "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert hashes(home / "two") == hashes(captions)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_jobs_give_the_same_bytes(home: Path, tmp_path: Path) -> None:
    """On a cluster that is joined, where the family comes with the job's working folder."""
    trust = ("--trust-code", "tests.extending.line_counts:LINE_COUNTS")
    commands = {
        "render": ("line-counts", str(home / "annotations"), *trust),
        "shard": ("--images", f"{home}/images/*.tar", "--captions", f"{tmp_path}/render", *trust),
    }
    with job_cluster(cpus=4) as jobs:
        for name, arguments in commands.items():
            here, there = tmp_path / name, tmp_path / f"job-{name}"
            alone = shardloom(name, *arguments, "--output", here, "--workers", "1", cwd=REPOSITORY)
            assert alone.returncode == 0, alone.stderr
            done = jobs.submit(name, f"pipelines.{name}", *arguments, "--output", str(there), "--workers", "2")
            assert (done.returncode, jobs.status(name)) == (0, "SUCCEEDED"), done.stdout
            assert hashes(there) == hashes(here)
