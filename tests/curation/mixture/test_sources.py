"""The folders of a source: each once, or its samples would be drawn from twice."""

from pathlib import Path

import pytest

from curation.mixture.sources import expand_folders
from schemas.errors import UsageError


def test_a_folder_counts_once_however_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("sets", "sets/a", "sets/b"):
        Path(name).mkdir()
    written = ["./sets/a", "sets/a/", "sets//a", "sets/*", f"{tmp_path}/sets/c"]
    assert expand_folders("name", written) == [f"{tmp_path}/sets/c", "sets/a", "sets/b"]
    assert expand_folders("name", ["s3://bucket//a", "s3://bucket/a"]) == ["s3://bucket//a", "s3://bucket/a"]


def test_a_folder_that_exists_is_taken_literally(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`set [v1]` is also the pattern of `set v`, whose samples must not take the place of its own."""
    monkeypatch.chdir(tmp_path)
    for name in ("set [v1]", "set v", "p{0,1}", "p000", "p001"):
        Path(name).mkdir()
    assert expand_folders("name", ["set [v1]"]) == expand_folders("name", ["set [v1]/"]) == ["set [v1]"]
    assert expand_folders("name", [f"{tmp_path}/set [v1]"]) == [f"{tmp_path}/set [v1]"]
    assert expand_folders("name", ["p{0,1}", "p{000..001}"]) == ["p000", "p001", "p{0,1}"]
    with pytest.raises(UsageError, match=r"^source name: no file matches p002$"):
        expand_folders("name", ["p{000..002}"])
