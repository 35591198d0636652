"""The steps by which an image is installed, in a clean virtual environment: minutes, and gigabytes for GPUs.

    SHARDLOOM_INSTALL=cpu pytest tests/docker/test_install.py

The images' own folder, /opt/shardloom, is one of the test's here.
"""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.docker.support.files import DOCKER, instructions, pins

ASKED = os.environ.get("SHARDLOOM_INSTALL", "").split(",")
PROBE = """
import json, pipelines, torch
from importlib.metadata import distributions
from pipelines.environments.python import get_environment_folder
print(json.dumps({
    "home": pipelines.__file__, "environment": str(get_environment_folder("paddleocr")),
    "held": {each.name: each.version for each in distributions()}}))
"""
OF_GPUS = ("nvidia-", "cuda-", "triton")  # torch's own metadata pin them, for GPUs alone
NOT_OURS = {"pip", "setuptools", "shardloom"}


def steps(image: str) -> list[tuple[str, str]]:
    """The instructions by which it is built, without those of what is left of it in the end."""
    found = instructions(DOCKER / f"{image}.Dockerfile")
    return found[: [name for name, _ in found].index("FROM", 2)]


def copied(image: str, folder: Path) -> list[str]:
    """Puts what the image copies into the folder, but for what is not committed; the files' names."""
    sources = [name for step, arguments in steps(image) if step == "COPY" for name in arguments.split()[:-1]]
    listed = subprocess.run(["git", "ls-files", "-z", *sources], cwd=REPOSITORY, capture_output=True, check=True)
    names = list(filter(None, listed.stdout.decode().split("\0")))
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((REPOSITORY / name).read_bytes())
    return names


@pytest.mark.parametrize("image", ["cpu", "gpu"])
def test_what_is_copied_makes_a_whole_wheel(image: str, tmp_path: Path) -> None:
    names = copied(image, tmp_path / "src")
    build = [sys.executable, "-m", "pip", "--quiet", "wheel", "--no-deps", "--no-build-isolation", "."]
    done = subprocess.run(
        [*build, "--wheel-dir", tmp_path], cwd=tmp_path / "src", env=os.environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    [wheel] = tmp_path.glob("*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == {name for name in names if "/" in name}, "modules, and the data beside them"
    assert "recipes/demo.yaml" in held


@pytest.mark.slow
@pytest.mark.parametrize("image", ["cpu", "gpu"])
def test_install_steps(image: str, tmp_path: Path) -> None:
    if image not in ASKED:
        pytest.skip(f"SHARDLOOM_INSTALL={image}")
    root, source = tmp_path / "opt", tmp_path / "src"
    copied(image, source)
    for name, arguments in steps(image):
        if name == "RUN":
            command = arguments.replace("/opt/shardloom", str(root)).replace("python -m venv", "python3.11 -m venv")
            done = subprocess.run(["bash", "-c", command], cwd=source, capture_output=True, text=True)
            assert done.returncode == 0, (command, done.stderr[-2000:])
    binaries, empty = root / "venv" / "bin", tmp_path / "empty"
    empty.mkdir()
    clean = {"PATH": f"{binaries}:/usr/bin:/bin", "HOME": str(tmp_path), "SHARDLOOM_ENVIRONMENTS": str(root / "env")}

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=empty, env=clean, capture_output=True, text=True)
        assert done.returncode == 0, (command, done.stderr[-2000:])
        return done.stdout

    run("pip", "check")
    found = json.loads(run("python", "-c", PROBE))
    assert found["home"].startswith(str(root)), "installed, not looked up in the sources"
    assert found["environment"].startswith(str(root / "env"))
    (root / "held.txt").write_text("".join(f"{name}=={version}\n" for name, version in found["held"].items()))
    held, told = pins(root / "held.txt"), pins(REPOSITORY / "constraints.txt")
    others = {name for name in held if not name.startswith(OF_GPUS)} - NOT_OURS
    assert {name: held[name].partition("+")[0] for name in others} == {name: told.get(name) for name in others}
    listed = json.loads(run("shardloom", "engines", "--json"))
    assert [one["engine"] for one in listed if one["is_ready"]] == ["rapidocr", "caption", "grounding_dino"]
    assert "Usage: shardloom" in run("shardloom", "--help")
    demo = run("shardloom", "demo", "--pictures", "12", "--workers", "1", "--steps", "2")
    assert "verified: 7 sets in demo-output" in demo
    assert (empty / "demo-output" / "model" / "model" / "model.safetensors").is_file()
