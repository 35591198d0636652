"""Tests of how the files of an output set are read."""

import hashlib
from pathlib import Path

import pytest

from schemas.errors import ShardloomError
from schemas.output_set.layout import read_output
from schemas.storage.folder import Folder


def test_an_output_that_was_changed_is_refused(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    folder.write("data/a.parquet", b"rows")
    sha256 = hashlib.sha256(b"rows").hexdigest()
    assert read_output(folder, "data/a.parquet", sha256) == b"rows"
    folder.write("data/a.parquet", b"rovs")
    with pytest.raises(ShardloomError) as error:
        read_output(folder, "data/a.parquet", sha256)
    assert str(error.value) == f"{tmp_path}/data/a.parquet is not as it was committed: verify the set"
