"""A program's own environment is built when it is first asked for, and not in silence."""

from pathlib import Path

import pytest

from pipelines.environments.python import environment_of, mark_of, python_of
from schemas.errors import ShardloomError


def test_building_is_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SHARDLOOM_ENVIRONMENTS", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # so that pip fails at once
    with pytest.raises(ShardloomError, match="cannot install img2dataset for "):
        python_of("img2dataset")
    folder = environment_of("img2dataset")
    assert capsys.readouterr().err == f"building img2dataset in {folder}, once: it may take minutes\n"
    mark_of("img2dataset").touch()
    python_of("img2dataset")
    assert capsys.readouterr().err == ""
