"""One of several processes creates a file, on a disk and on an object store, also while others remove its folder."""

import os
from pathlib import Path

import pytest

from schemas.errors import StorageError
from schemas.storage.exclusive import create_exclusively
from schemas.storage.folder import Folder
from tests.support.s3.bucket import Bucket


def test_the_first_creates_it(tmp_path: Path, bucket: Bucket) -> None:
    for folder in (Folder(str(tmp_path)), Folder(bucket.url)):
        assert create_exclusively(folder, "claims/a", b"1")
        assert not create_exclusively(folder, "claims/a", b"2")
        assert folder.read("claims/a") == b"1"


def test_an_answer_that_is_lost_is_no_other_process(bucket: Bucket) -> None:
    bucket.proxy.restart(lambda number: "lost" if number == 0 else None)
    assert create_exclusively(Folder(bucket.url), "claims/a", b"1")
    assert [request.method for request in bucket.proxy.requests][:2] == ["PUT", "PUT"]


@pytest.mark.parametrize("times", [2, 3])
def test_a_folder_that_is_cleared_before_the_file_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """As by a run that completes the set."""
    real, left = os.open, [None] * times

    def clear_first(path: Path, flags: int, mode: int = 0o777) -> int:
        if left:
            left.pop()
            (tmp_path / "claims").rmdir()
        return real(path, flags, mode)

    monkeypatch.setattr("schemas.storage.exclusive.os.open", clear_first)
    if times == 3:
        with pytest.raises(StorageError, match=r"^cannot write .*/claims/a: No such file or directory$"):
            create_exclusively(Folder(str(tmp_path)), "claims/a", b"1")
    else:
        assert create_exclusively(Folder(str(tmp_path)), "claims/a", b"1")
