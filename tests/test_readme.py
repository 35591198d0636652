"""The README is true: its commands run as they stand, and its other claims on files hold."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from curation.engines.boxes.grounding_dino_weights import SHIPPED
from pipelines.demo.shards import write_shards
from pipelines.environments.python import get_completion_mark
from schemas.storage.folder import Folder
from tests.conftest import REPOSITORY, jpeg
from tests.pipelines.support.metadata import write_metadata
from tests.pipelines.support.sets import in_process
from tests.pipelines.support.web_pages import served_pages

README = (REPOSITORY / "README.md").read_text()


def commands(section: str) -> list[str]:
    """The lines of the first shell block below a heading, without their comments."""
    text = README[README.index(f"## {section}") :]
    block = re.search(r"```sh\n(.*?)```", text, re.DOTALL)
    assert block is not None
    return [line.split("  #")[0].strip() for line in block[1].splitlines() if line.strip()]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages as `pip install .` lays them down, away from the checkout."""
    folder = tmp_path_factory.mktemp("installed")
    build = [sys.executable, "-m", "pip", "--quiet", "wheel", "--no-deps", "--no-build-isolation", "."]
    subprocess.run([*build, "--wheel-dir", folder], cwd=REPOSITORY, check=True)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "packages")
    return folder / "packages"


def prepare_inputs(tmp_path: Path, site: str) -> None:
    """Writes what the commands read."""
    write_shards(Folder(str(tmp_path / "images")), count=12, per_shard=12)
    weights = shutil.ignore_patterns("demonstration.json")  # so that they pass for real ones
    shutil.copytree(SHIPPED, tmp_path / "grounding-dino", ignore=weights)
    (tmp_path / "mixture.yaml").write_text("sources: {ocr: training, plain: plain}\nweights: {ocr: 1, plain: 3}\n")
    recipe = yaml.safe_load((REPOSITORY / "recipes/train/tiny.yaml").read_text())
    recipe["model"]["tokenizer"] = str(REPOSITORY / "recipes/train/tiny/tokenizer.json")
    recipe["data"] |= {"sources": {"ocr": "training", "plain": "plain"}, "weights": {"ocr": 1, "plain": 3}}
    recipe["data"] |= {"repeats": {"ocr": None, "plain": None}}
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(recipe | {"steps": 2}))
    (tmp_path / "sign.jpg").write_bytes(jpeg(0))
    urls: list[str | None] = [f"{site}/good/{number}.jpg" for number in range(12)]
    write_metadata(tmp_path / "metadata/0.parquet", urls, original_width=[640] * 12, original_height=[480] * 12)


def list_commands() -> list[str]:
    """The commands, but for those that would take minutes here."""
    lines = commands("Use")
    assert len(lines) == 18
    if not get_completion_mark("img2dataset").exists():
        lines = [line for line in lines if not line.startswith("shardloom download")]
    only_host = " --allow-host 127.0.0.1"
    return [line + only_host * line.startswith("shardloom download") for line in lines]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A working folder with what the commands read."""
    with served_pages() as site:
        prepare_inputs(tmp_path, site.address)
        yield tmp_path


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
def test_every_command_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, which spares each of them the seconds that its imports and its cluster take."""
    monkeypatch.chdir(folder)
    for line in list_commands():
        name, *arguments = shlex.split(line)
        assert name == "shardloom"
        done = in_process(*arguments)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        assert done.stdout.strip() or "generate" in line  # a model of two steps may have nothing to say


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.xdist_group("ray")
def test_every_command_runs_as_it_is_installed(folder: Path, installed: Path) -> None:
    """By a shell, and each with a cluster of its own."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(installed)}
    found = "import pipelines, pathlib; print(pathlib.Path(pipelines.__file__).parents[1])"
    where = subprocess.run([sys.executable, "-c", found], cwd=folder, env=environment, capture_output=True, text=True)
    assert where.stdout.strip() == str(installed)
    for line in list_commands():
        done = subprocess.run(line, shell=True, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        assert done.stdout.strip() or "generate" in line


def test_make_has_the_targets_that_the_readme_names() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_folder_that_the_readme_names_says_what_lives_there() -> None:
    for folder in re.findall(r"`(\w+)/`", README[README.index("## Where to look") :]):
        text = (REPOSITORY / folder / "__init__.py").read_text()
        assert text.startswith('"""'), folder
