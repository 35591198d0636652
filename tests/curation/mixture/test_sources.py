"""The folders of a source: each once, or its samples would be drawn from twice."""

from pathlib import Path

import pytest

from curation.mixture.sources import expand_folders


def test_a_folder_counts_once_however_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("sets", "sets/a", "sets/b"):
        Path(name).mkdir()
    written = ["./sets/a", "sets/a/", "sets//a", "sets/*", f"{tmp_path}/sets/c"]
    assert expand_folders("name", written) == [f"{tmp_path}/sets/c", "sets/a", "sets/b"]
    assert expand_folders("name", ["s3://bucket//a", "s3://bucket/a"]) == ["s3://bucket//a", "s3://bucket/a"]
