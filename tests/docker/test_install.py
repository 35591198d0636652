"""The steps by which an image is installed, in a clean virtual environment: minutes, and gigabytes for GPUs.

    SHARDLOOM_INSTALL=cpu pytest tests/docker/test_install.py

The images' own folder, /opt/shardloom, is one of the test's here.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.docker.files import DOCKER, instructions

ASKED = os.environ.get("SHARDLOOM_INSTALL", "").split(",")
PROBE = """
import importlib.metadata, json, pipelines, curation.engines.vocabulary, torch
from curation.engines.grounding_dino_weights import SHIPPED
from pipelines.environments.python import environment_of
print(json.dumps({
    "home": pipelines.__file__, "weights": SHIPPED.is_dir(), "environment": str(environment_of("paddleocr")),
    "ray": importlib.metadata.version("ray"), "torch": torch.__version__}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("image", ["cpu", "gpu"])
def test_install_steps(image: str, tmp_path: Path) -> None:
    if image not in ASKED:
        pytest.skip(f"SHARDLOOM_INSTALL={image}")
    root, source = tmp_path / "opt", tmp_path / "src"
    source.mkdir()
    steps = instructions(DOCKER / f"{image}.Dockerfile")
    build = steps[: [name for name, _ in steps].index("FROM", 2)]
    for name, arguments in build:
        if name == "COPY":
            names = arguments.split()[:-1]
            tracked = subprocess.run(
                ["git", "ls-files", "-z", *names], cwd=REPOSITORY, capture_output=True, text=True, check=True
            )
            for file in filter(None, tracked.stdout.split("\0")):
                (source / file).parent.mkdir(parents=True, exist_ok=True)
                (source / file).write_bytes((REPOSITORY / file).read_bytes())
        if name == "RUN":
            command = arguments.replace("/opt/shardloom", str(root)).replace("python -m venv", "python3.11 -m venv")
            done = subprocess.run(["bash", "-c", command], cwd=source, capture_output=True, text=True)
            assert done.returncode == 0, (command, done.stderr[-2000:])
    binaries = root / "venv" / "bin"
    clean = {"PATH": f"{binaries}:/usr/bin:/bin", "HOME": str(tmp_path), "SHARDLOOM_ENVIRONMENTS": str(root / "env")}

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True)
        assert done.returncode == 0, (command, done.stderr[-2000:])
        return done.stdout

    run("pip", "check")
    found = json.loads(run("python", "-c", PROBE))
    assert found["home"].startswith(str(root)), "installed, not looked up in the sources"
    assert found["weights"], "package data came with it"
    assert found["environment"].startswith(str(root / "env"))
    listed = json.loads(run("shardloom", "engines", "--json"))
    assert [one["engine"] for one in listed if one["is_ready"]] == [
        "rapidocr",
        "caption",
        "grounding_dino",
        "img2dataset",
    ]
    assert "Usage: shardloom" in run("shardloom", "--help")
