"""A working folder with a package of one of our names: found out before any work, in one line that names the folder."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.cluster.runner import Runner
from pipelines.recipes.base import RunOptions
from schemas.errors import UsageError
from schemas.own_packages import PACKAGES, find_foreign_package
from tests.conftest import REPOSITORY
from tests.pipelines.support.drivers import NO_TOKEN, cluster_of
from tests.pipelines.support.sets import COMMAND, annotation_set


def line(folder: Path, name: str, remedy: str = "run in another folder") -> str:
    """What is said of a package in the folder."""
    found = f"{folder} has a `{name}` of its own, which Python finds before Shardloom's in {REPOSITORY}"
    return f"{found}: rename it, or {remedy}"


def run(folder: Path, *arguments: str, more: str = "") -> tuple[int, str]:
    """Exit code and stderr of Python in the folder; `more` comes first on PYTHONPATH."""
    paths = os.pathsep.join(filter(None, [more, str(REPOSITORY)]))
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


def package(folder: Path, name: str) -> Path:
    """Makes a package of this name; returns the folder."""
    (folder / name).mkdir()
    (folder / name / "__init__.py").touch()
    return folder


@pytest.mark.parametrize("name", ["schemas", "curation", "training"])
def test_commands(tmp_path: Path, name: str) -> None:
    assert run(package(tmp_path, name), "-m", "pipelines.annotate", "recipe.yaml") == (
        2,
        f"error: {line(tmp_path, name)}\n",
    )


@pytest.mark.parametrize("name", ["schemas", "curation", "pipelines"])
def test_the_trainer(tmp_path: Path, name: str) -> None:
    assert run(package(tmp_path, name), "-m", "training.train", "recipe.yaml") == (
        2,
        f"error: {line(tmp_path, name)}\n",
    )


def test_the_console_script(tmp_path: Path) -> None:
    """In a Ray job with a working folder of its own: Ray puts that on PYTHONPATH."""
    script, job = str(Path(sys.executable).parent / "shardloom"), package(tmp_path, "schemas")
    remedy = "take that folder off PYTHONPATH"
    assert run(REPOSITORY, script, "stats", more=str(job)) == (2, f"error: {line(job, 'schemas', remedy)}\n")
    assert run(job, script, "stats", more=str(job)) == (2, f"error: {line(job, 'schemas')}\n")


def test_imports_by_a_program_of_the_users(tmp_path: Path) -> None:
    code, told = run(package(tmp_path, "schemas"), "-c", "import curation")
    assert (code, told.splitlines()[-1]) == (1, f"ImportError: {line(tmp_path, 'schemas')}")


def test_a_folder_without_modules_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "page.json").write_text("{}")
    assert run(tmp_path, "-c", "import pipelines, schemas.errors") == (0, "")


def test_a_module(tmp_path: Path) -> None:
    (tmp_path / "schemas.py").touch()
    remedy = "take that folder off PYTHONPATH"
    assert find_foreign_package([str(tmp_path), str(REPOSITORY)]) == line(tmp_path, "schemas", remedy)


def test_another_copy_of_ours_must_be_whole(tmp_path: Path) -> None:
    for name in PACKAGES:
        package(tmp_path, name)
        shutil.copy(REPOSITORY / name / "__init__.py", tmp_path / name)
    shutil.copy(REPOSITORY / "schemas" / "own_packages.py", tmp_path / "schemas")
    assert find_foreign_package([str(tmp_path), str(REPOSITORY)]) is None
    assert run(tmp_path, "-c", "import pipelines, training") == (0, "")
    shutil.rmtree(tmp_path / "pipelines")
    remedy = "take that folder off PYTHONPATH"
    assert find_foreign_package([str(tmp_path), str(REPOSITORY)]) == line(tmp_path, "schemas", remedy)
    assert find_foreign_package([str(REPOSITORY), str(tmp_path)]) is None


def test_workers_would_find_it_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver is imported by now; its workers start in the working folder. Ray is not started."""
    monkeypatch.chdir(package(tmp_path, "pipelines"))
    with pytest.raises(UsageError) as error:
        Runner.open(RunOptions(workers=2))
    assert str(error.value) == line(tmp_path, "pipelines")


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
@pytest.mark.slow
def test_only_the_workers_find_it(make_shards: Callable[..., str], tmp_path: Path) -> None:
    annotations = annotation_set(make_shards(tmp_path / "images", shards=2, samples=2), tmp_path / "annotations")
    node = tmp_path / "node"
    node.mkdir()
    paths = os.pathsep.join([str(package(node, "schemas")), str(REPOSITORY)])
    with cluster_of(2, PYTHONPATH=paths) as address:
        command = [COMMAND, "render", "ocr", annotations, "--output", "out", "--address", address]
        variables = os.environ | NO_TOKEN | {"PYTHONPATH": str(REPOSITORY)}
        done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)
    told = line(node, "schemas", "take that folder off PYTHONPATH")
    assert done.returncode == 2
    assert f"error: on a worker's machine, {told}" in done.stderr.splitlines()
