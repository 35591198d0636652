"""The house keeps its order: small folders, tests that mirror the packages, and doors that open."""

import importlib
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

PACKAGES = ("schemas", "curation", "pipelines", "training")
OWN_FOLDERS = ("extending", "docker", "docs", "support", "golden")  # of the tests, which mirror nothing
COMMANDS = (
    *("annotate", "demo", "download", "evaluate", "ingest", "mix", "render", "select", "shard", "stats", "verify"),
    *("card", "compare", "explain", "retry", "view"),
)
FUNCTIONS = (
    *(
        "annotate.annotate",
        "download.download",
        "evaluate.evaluate_boxes",
        "evaluate.evaluate_ocr",
        "evaluate.evaluate_captions",
        "ingest.ingest",
    ),
    *("mix.mix", "render.preview_record", "render.render_set", "select.select", "shard.shard", "stats.collect_stats"),
    *("verify.verify", "view.write_view", "card.refresh_card", "retry.retry", "explain.explain"),
)


def folders_of(package: str) -> Iterator[Path]:
    """The package's folders, itself included, that hold modules."""
    root = REPOSITORY / package
    yield from (folder for folder in (root, *root.rglob("*")) if any(folder.glob("*.py")))


def test_no_folder_holds_more_than_20_modules() -> None:
    modules = {
        str(folder.relative_to(REPOSITORY)): len([path for path in folder.glob("*.py") if path.stem[:2] != "__"])
        for package in PACKAGES
        for folder in folders_of(package)
    }
    assert len(modules) > len(PACKAGES)
    assert {folder: count for folder, count in modules.items() if count > 20} == {}


def test_tests_mirror_the_packages() -> None:
    root = REPOSITORY / "tests"
    folders = {path.parent.relative_to(root) for path in root.rglob("test_*.py")} - {Path()}
    mirrored = {folder for folder in folders if folder.parts[0] not in OWN_FOLDERS}
    held = {folder.relative_to(REPOSITORY) for package in PACKAGES for folder in folders_of(package)}
    assert {Path(package) for package in PACKAGES} <= {Path(folder.parts[0]) for folder in mirrored}
    assert mirrored - held == set()


@pytest.mark.filterwarnings("ignore:.*found in sys.modules after import")
@pytest.mark.parametrize("module", [*(f"pipelines.{name}" for name in COMMANDS), "training.train"])
def test_python_m(module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As `python -m` runs it, but in this process."""
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    with pytest.raises(SystemExit) as done:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    assert done.value.code == 0
    usage = next(line for line in capsys.readouterr().out.splitlines() if "usage: " in line.lower())
    assert module.rpartition(".")[2] in usage


@pytest.mark.parametrize("name", FUNCTIONS)
def test_commands_are_functions(name: str) -> None:
    folder, _, function = name.partition(".")
    assert callable(getattr(importlib.import_module(f"pipelines.{folder}"), function))


def test_windows_is_refused_in_one_line() -> None:
    script = "import os; os.name = 'nt'; import pipelines"
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: Shardloom needs Linux or macOS: ")
    assert done.stderr.count("\n") == 1
