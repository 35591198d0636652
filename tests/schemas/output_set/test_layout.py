"""Tests of how the files of an output set are read."""

import hashlib
import os
from pathlib import Path

import pytest

from schemas.errors import ShardloomError, StorageError, UsageError
from schemas.output_set import layout
from schemas.output_set.layout import check_output, read_manifests, read_output
from schemas.output_set.manifest import Manifest
from schemas.output_set.recipe_file import read_stored_recipe
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


@pytest.mark.parametrize("kind", ["link out", "link in", "device", "pipe", "folder", "linked folder"])
def test_only_regular_files_of_the_set_are_read(tmp_path: Path, kind: str) -> None:
    """Neither a device, which has no end, nor a pipe, which nobody writes to, nor a file that lies elsewhere."""
    folder, path = Folder(str(tmp_path / "set")), tmp_path / "set/data/a.parquet"
    path.parent.mkdir(parents=True)
    (tmp_path / "outside").write_bytes(b"rows")
    (path.parent / "b").write_bytes(b"rows")
    if kind == "linked folder":
        path.parent.rename(tmp_path / "elsewhere")
        path.parent.symlink_to(tmp_path / "elsewhere")
        (tmp_path / "elsewhere/a.parquet").write_bytes(b"rows")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to({"link out": tmp_path / "outside", "link in": "b", "device": "/dev/zero"}[kind])
    with pytest.raises(StorageError) as error:
        read_output(folder, "data/a.parquet", hashlib.sha256(b"rows").hexdigest())
    assert str(error.value) == (
        f"cannot read {path}: only regular files inside the folder are read, not links or devices"
    )


def test_a_file_of_another_size_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(str(tmp_path))
    folder.write("data/a.parquet", b"rows")
    monkeypatch.setattr(Folder, "read", lambda *_: pytest.fail("it was read"))
    with pytest.raises(ShardloomError, match="is not as it was committed: verify the set"):
        read_output(folder, "data/a.parquet", hashlib.sha256(b"rows").hexdigest(), 3)


def test_manifests_and_recipes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests/a.json").symlink_to("/dev/zero")
    with pytest.raises(UsageError, match=r"a\.json: only regular files .*: `shardloom verify --repair "):
        read_manifests(Folder(str(tmp_path)))
    (tmp_path / "manifests/a.json").unlink()
    monkeypatch.setattr(layout, "MAX_MANIFEST", 10)
    (tmp_path / "manifests/a.json").write_bytes(b" " * 11)
    with pytest.raises(UsageError, match=r"a\.json: it has 11 bytes, more than 10"):
        read_manifests(Folder(str(tmp_path)))
    (tmp_path / "recipe.yaml").symlink_to("/dev/zero")
    with pytest.raises(StorageError, match=r"recipe\.yaml: only regular files"):
        read_stored_recipe(Folder(str(tmp_path)))


def test_only_json_files_are_manifests(tmp_path: Path) -> None:
    manifest = Manifest.build("a", "0" * 64, inputs=[], rows_in=0, data=None, others=[])
    folder = Folder(str(tmp_path))
    folder.write("manifests/a.json", manifest.to_json())
    for name in ("notes.txt", "a.json~", "a.json.bak", "Thumbs.db", "desktop.ini", ".DS_Store"):
        folder.write(f"manifests/{name}", b"another program's")
    assert read_manifests(folder) == {"a": manifest}
    folder.write("manifests/b.json", b"")
    with pytest.raises(UsageError, match=r"manifests/b\.json: "):
        read_manifests(folder)


def test_an_output_is_checked_without_holding_it(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path / "set"))
    folder.write("data/a.parquet", b"rows")
    sha256 = hashlib.sha256(b"rows").hexdigest()
    check_output(folder, "data/a.parquet", sha256)
    folder.write("data/a.parquet", b"rovs")
    with pytest.raises(ShardloomError, match=rf"^{folder.url}/data/a.parquet is not as it was committed: verify the"):
        check_output(folder, "data/a.parquet", sha256)
    (tmp_path / "outside").write_bytes(b"rows")
    (tmp_path / "set/data/b.parquet").symlink_to(tmp_path / "outside")
    with pytest.raises(StorageError, match="only regular files inside the folder are read"):
        check_output(folder, "data/b.parquet", sha256)
