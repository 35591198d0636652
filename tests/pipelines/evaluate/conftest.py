"""Runs `shardloom evaluate model` in the folder of a test file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli.app import main

Run = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command in the folder; returns its exit code, its result (JSON as plain data) and its errors."""
    monkeypatch.chdir(folder)

    def evaluate(*arguments: str) -> tuple[int, Any, str]:
        with pytest.raises(SystemExit) as done:
            main(["evaluate", "model", *arguments])
        assert isinstance(done.value.code, int)
        out, err = capsys.readouterr()
        return done.value.code, json.loads(out) if "--json" in arguments and out else out, err

    return evaluate
