"""A program's own environment is built when it is first asked for, not in silence, and of files that are known."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pipelines.engines.listing import ENVIRONMENTS
from pipelines.environments import python as environments
from pipelines.environments.python import (
    ensure_environment,
    get_completion_mark,
    get_environment_folder,
    plan_steps,
    read_release_hashes,
)
from schemas.errors import ShardloomError

SOURCES = {
    "groundingdino-py": {"groundingdino-py===0.4.0"},
    "lmms-eval": {"antlr4-python3-runtime===4.7.2", "transformers-stream-generator===0.0.5", "zss===1.2.0"},
}
"""What is built here, because it has no wheel, by environment."""


def test_building_is_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SHARDLOOM_ENVIRONMENTS", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # so that pip fails at once
    with pytest.raises(ShardloomError, match="cannot install img2dataset for "):
        ensure_environment("img2dataset")
    folder = get_environment_folder("img2dataset")
    assert capsys.readouterr().err == f"building img2dataset in {folder}, once: it may take minutes\n"
    get_completion_mark("img2dataset").touch()
    ensure_environment("img2dataset")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_every_release_is_installed_once_and_by_its_hashes(name: str) -> None:
    """All but what PyPI does not have; nothing else is installed with them."""
    steps = plan_steps(name)
    lines = [line for step in steps for line in step.lines]
    pinned = (Path(environments.__file__).parent / f"{name}.txt").read_text().splitlines()
    assert len(lines) == len([line for line in pinned if not line.startswith("#")])
    unknown = [line for line in lines if "--hash" not in line]
    assert unknown == (["paddlepaddle-gpu==3.3.1"] if name == "paddleocr-gpu" else [])
    for step in steps:
        if step.lines != unknown:
            assert step.options[:2] == ("--require-hashes", "--no-deps")
            assert "--only-binary" in step.options or {line.split()[0] for line in step.lines} == SOURCES[name]
            assert all(re.fullmatch(r"[a-z0-9-]+===\S+( --hash=sha256:[0-9a-f]{64})+", line) for line in step.lines)
    if name in SOURCES:
        assert "--only-binary" not in steps[1].options
        assert any(line.startswith("setuptools===") for line in steps[0].lines), "it is built by that"


def test_no_hash_is_held_for_nothing() -> None:
    used = {
        line.split()[0].replace("===", "==")
        for name in ENVIRONMENTS
        for step in plan_steps(name)
        for line in step.lines
    }
    assert set(read_release_hashes()) == used - {"paddlepaddle-gpu==3.3.1"}


def test_pip_is_told_of_the_hashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHARDLOOM_ENVIRONMENTS", str(tmp_path))
    commands: list[list[str]] = []

    def run(command: list[str], **_: Any) -> Any:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(environments.venv, "create", lambda folder, **_: folder.mkdir())
    monkeypatch.setattr(environments.subprocess, "run", run)
    ensure_environment("img2dataset")
    [command] = commands
    assert command[1:6] == ["-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    assert command[6:10] == ["--require-hashes", "--no-deps", "--only-binary", ":all:"]
    listed = Path(command[-1]).read_text()
    assert listed.count("\n") == len(plan_steps("img2dataset")[0].lines)
    assert "img2dataset===1.47.0 --hash=sha256:" in listed
