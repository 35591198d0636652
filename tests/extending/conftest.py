"""What the tests of plug-ins need: a command in this process that leaves nothing of them behind."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from curation.engines.registry import ENGINES
from curation.sources import SOURCES
from pipelines.cli.app import main
from tests.support.registries import forget

Run = Callable[..., tuple[int, str, str]]
"""Runs a command; returns its exit code and what it has printed."""


def is_below(folder: Path, module: ModuleType) -> bool:
    """Others stay: some libraries can't be imported twice."""
    return str(getattr(module, "__file__", "")).startswith(f"{folder}/")


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in `folder`, which knows nothing yet of what the commands before it were told to trust."""
    monkeypatch.chdir(folder)

    def command(*arguments: object) -> tuple[int, str, str]:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "path", list(sys.path))
            forget(patch, ENGINES, SOURCES)
            with pytest.raises(SystemExit) as done:
                main([str(argument) for argument in arguments])
        for name in [name for name, module in sys.modules.items() if is_below(folder, module)]:
            del sys.modules[name]
        return int(done.value.code or 0), *capsys.readouterr()

    return command
