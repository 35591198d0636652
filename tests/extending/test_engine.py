"""An engine of a user's own: trusted or installed, it is run, listed and refused as ours are."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.conftest import REPOSITORY
from tests.extending.conftest import Run
from tests.extending.support.installed import install
from tests.pipelines.support.drivers import hashes
from tests.pipelines.support.jobs import job_cluster
from tests.pipelines.support.sets import rows, shardloom

FILE = REPOSITORY / "tests/extending/shout_ocr.py"
TRUST = ("--trust-code", "shout_ocr:SHOUT")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with the engine's file in it."""
    (folder := tmp_path / "work").mkdir()
    shutil.copy(FILE, folder)
    return folder


def refused(line: str) -> tuple[int, str, str]:
    """What a command returns and prints that is refused with this line."""
    return 2, "", f"error: {line}\n"


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
def test_it_annotates(folder: Path, run: Run, make_shards: Callable[..., str], tmp_path: Path) -> None:
    images = make_shards(tmp_path / "images", shards=1, samples=3)
    annotate = ("annotate", "ocr:shout", "-i", images, "-o", tmp_path / "out", "--workers", 1)
    done = shardloom(*annotate, *TRUST, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("shout: every line ends in !\n")
    found = rows(tmp_path / "out")
    assert [[line["text"] for line in row["ocr"]] for row in found] == [["64 BY 48!"]] * 3
    held = yaml.safe_load((tmp_path / "out/recipe.yaml").read_text())
    assert held["engines"] == {"ocr": {"engine": "shout", "settings": {}, "batch_size": 16}}
    [manifest] = (tmp_path / "out/manifests").glob("*.json")
    assert json.loads(manifest.read_text())["fingerprints"]["ocr"] == {
        "name": "shout",
        "version": "1",
        "weights_sha256": "",
        "settings": {"mark": "!"},
    }
    unknown = "engines.ocr: no engine is named 'shout': use one of rapidocr, paddleocr"
    assert run(*annotate) == refused(unknown), "a set makes no code run, its own neither"
    assert run("annotate", tmp_path / "out", "--add", "tags", "-o", tmp_path / "more") == refused(unknown)


def test_a_set_that_names_code_is_refused(run: Run, tmp_path: Path) -> None:
    """Its own recipe, and one that reuses it. The code would leave a file."""
    code = {"engine": "os:mkdir", "settings": {"path": str(tmp_path / "made")}, "batch_size": 16}
    recipe = {"kind": "annotate", "input": [f"{tmp_path}/*.tar"], "engines": {"ocr": code}}
    (tmp_path / "set").mkdir()
    (tmp_path / "set/recipe.yaml").write_text(yaml.safe_dump(recipe))
    (tmp_path / "0.tar").write_bytes(b"")
    line = "engines.ocr: no engine is named 'os:mkdir': pass --trust-code os:mkdir if you trust that code"
    out = ("-o", tmp_path / "out", "--workers", 1)
    assert run("annotate", tmp_path / "set", "--add", "tags", *out) == refused(line)
    caption = {"engine": "caption"}
    (tmp_path / "recipe.yaml").write_text(
        yaml.safe_dump(recipe | {"engines": {"ocr": code, "tags": caption}, "run": {"reuse": str(tmp_path / "set")}})
    )
    assert run("annotate", tmp_path / "recipe.yaml", *out) == refused(line)
    assert run("annotate", tmp_path / "recipe.yaml", *out, "--trust-code", "os:mkdir") == refused(
        "--trust-code os:mkdir: it must be of class EngineDeclaration, not builtin_function_or_method"
    )
    assert not (tmp_path / "made").exists()
    assert not (tmp_path / "out").exists()


def test_it_is_listed(run: Run) -> None:
    _, printed, _ = run("engines", "--json", *TRUST)
    [shout] = [one for one in json.loads(printed) if one["engine"] == "shout"]
    assert shout == {
        "kind": "ocr",
        "engine": "shout",
        "is_default": False,
        "environment": None,
        "missing": [],
        "get": None,
        "note": "shout: every line ends in !",
        "origin": "--trust-code shout_ocr:SHOUT",
        "is_ready": True,
    }


def test_an_installed_one_needs_no_word(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is listed, and so is one that is broken, which stops nothing else."""
    site = install(tmp_path / "site", "shout_engine", {"shardloom.engines shout": "shout_ocr:SHOUT"}, FILE)
    broken = install(tmp_path / "broken", "no_engine", {"shardloom.engines mumble": "mumble_ocr:MUMBLE"})
    for path in (site, broken):
        monkeypatch.syspath_prepend(str(path))  # as PYTHONPATH does
    code, printed, _ = run("engines")
    lines = printed.splitlines()
    assert code == 0
    place = lines.index("ocr      shout               ready")
    assert lines[place + 1 : place + 3] == [
        "         from:    shout_engine 1.0",
        "         shout: every line ends in !",
    ]
    place = lines.index("broken   mumble              not ready")
    why = "cannot load mumble_ocr:MUMBLE: ModuleNotFoundError: No module named 'mumble_ocr'"
    assert lines[place + 1 : place + 3] == [
        "         from:    no_engine 1.0",
        f"         missing: engine mumble of no_engine 1.0: {why}",
    ]
    recipe = {"engines": {"ocr": {"engine": "shout", "settings": {"mark": ""}}}, "input": [f"{tmp_path}/*.tar"]}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    (tmp_path / "0.tar").write_bytes(b"")
    for engine, line in {
        "shout": "shout: mark is empty; pass at least one '!'",
        "mumble": f"engines.ocr: engine mumble of no_engine 1.0: {why}",
    }.items():
        command = ("annotate", f"ocr:{engine}", "-r", tmp_path / "recipe.yaml", "-o", tmp_path / "out")
        assert run(*command) == refused(line)


@pytest.mark.parametrize(
    ("code", "reference", "line"),
    [
        (
            "",
            "mumble_ocr:IT",
            "cannot import mumble_ocr: ModuleNotFoundError: No module named 'mumble_ocr'; "
            "it must be in the working folder, on PYTHONPATH or installed",
        ),
        ("raise OSError('no\\nluck')", "broken_ocr:IT", "cannot import broken_ocr: OSError: no luck"),
        ("HERE = 1", "broken_ocr:IT", "broken_ocr has no IT"),
        ("class IT: pass", "broken_ocr:IT", "it must be of class EngineDeclaration, not type"),
        (
            "from shout_ocr import *\n"
            "IT = EngineDeclaration(name='rapidocr', kind=OCR, settings=Options, make=ShoutOcr)",
            "broken_ocr:IT",
            "the engine rapidocr ships with Shardloom: choose another name",
        ),
    ],
)
def test_what_is_broken_is_refused(folder: Path, run: Run, code: str, reference: str, line: str) -> None:
    (folder / "broken_ocr.py").write_text(f"{code}\n")
    annotate = ("annotate", f"ocr:{reference}", "-i", "*.tar", "-o", "out")
    for command in (annotate, ("engines",)):
        assert run(*command, "--trust-code", reference) == refused(f"--trust-code {reference}: {line}")


def test_its_settings_are_checked(folder: Path, run: Run) -> None:
    (folder / "0.tar").write_bytes(b"")
    recipe = {"input": "*.tar", "engines": {"ocr": {"engine": "shout_ocr:SHOUT", "settings": {"marks": "?"}}}}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert run("annotate", "recipe.yaml", "-o", "out", *TRUST) == refused(
        "engines.ocr.settings: marks: Extra inputs are not permitted"
    )


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.xdist_group("ray")
def test_one_that_can_not_be_made(folder: Path, make_shards: Callable[..., str], tmp_path: Path) -> None:
    (folder / "broken_ocr.py").write_text(
        "from shout_ocr import *\n"
        "def make(settings):\n    raise ValueError('no\\nvoice')\n"
        "IT = EngineDeclaration(name='hoarse', kind=OCR, settings=Options, make=make)\n"
    )
    images = make_shards(tmp_path / "images", shards=1, samples=1)
    command = ("annotate", "ocr:hoarse", "-i", images, "-o", "out", "--workers", 1, "--json")
    done = shardloom(*command, "--trust-code", "broken_ocr:IT", cwd=folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == ("error: engines.ocr: the engine hoarse failed: ValueError: no voice")


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_a_job_gives_the_same_bytes(folder: Path, make_shards: Callable[..., str], tmp_path: Path) -> None:
    """Submitted with the engine's file in its working folder, to a cluster that has never heard of it."""
    images = make_shards(tmp_path / "images", shards=2, samples=6)
    arguments = ["ocr:shout", "-i", images, "--workers", "2", "--chunk", "4", *TRUST]
    alone = shardloom("annotate", *arguments, "-o", tmp_path / "laptop", cwd=folder)
    assert alone.returncode == 0, alone.stderr
    with job_cluster(cpus=4) as jobs:
        command = ("pipelines.annotate", *arguments, "-o", str(tmp_path / "job"))
        done = jobs.submit("shout", *command, working_dir=folder)
        assert (done.returncode, jobs.status("shout")) == (0, "SUCCEEDED"), done.stdout
    assert hashes(tmp_path / "job") == hashes(tmp_path / "laptop")
