"""Images are found in the tars that a set was made from, or in those that the user names."""

from pathlib import Path

import pytest

from pipelines.view.image_shards import ImageShards
from schemas.errors import UsageError
from schemas.storage.folder import Folder
from tests.conftest import jpeg, write_shard


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two shards: keys 0 to 2 and 2 to 4, of which key 2 is another picture in each."""
    (folder := tmp_path / "images").mkdir()
    write_shard(folder / "a.tar", [jpeg(number) for number in range(3)])
    write_shard(folder / "b.tar", [jpeg(10 + number) for number in range(3)], first=2)
    return folder


def name_key(number: int) -> str:
    return f"{number:012d}"


def test_recorded_tars(images: Path, tmp_path: Path) -> None:
    shards = ImageShards(Folder(str(tmp_path / "set")), ())
    recorded = [f"{images}/a.tar", f"{images}/b.tar"]
    assert shards.read(recorded, "b", {name_key(2), name_key(4), "absent"}) == {
        name_key(2): jpeg(10),
        name_key(4): jpeg(12),
    }
    assert shards.read(recorded, "c", {name_key(2)}) == {}
    assert shards.notes == {}


def test_a_relative_path_is_from_the_working_folder(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(images.parent)
    shards = ImageShards(Folder("set"), ())
    assert shards.read(["images/a.tar"], "a", {name_key(1)}) == {name_key(1): jpeg(1)}


def test_keys_of_several_tars(images: Path, tmp_path: Path) -> None:
    shards = ImageShards(Folder(str(tmp_path / "set")), ())
    recorded = [f"{images}/a.tar", f"{images}/b.tar"]
    wanted = {name_key(number) for number in range(5)}
    found = shards.read_from_any(recorded, wanted)
    assert sorted(found) == [name_key(number) for number in (0, 1, 3, 4)], "key 2 is of two pictures"


def test_named_tars_are_used_instead(images: Path, tmp_path: Path) -> None:
    shards = ImageShards(Folder(str(tmp_path / "set")), [f"{images}/*.tar"])
    assert shards.read(["gone/a.tar"], "a", {name_key(0)}) == {name_key(0): jpeg(0)}
    assert shards.read(["gone/c.tar"], "c", {name_key(0)}) == {}
    assert list(shards.notes) == ["no tar that --images names is the shard c"]


def test_tars_that_are_gone_or_may_not_be_asked(images: Path, tmp_path: Path) -> None:
    shards = ImageShards(Folder(str(tmp_path / "set")), ())
    assert shards.read([f"{tmp_path}/gone/a.tar"], "a", {name_key(0)}) == {}
    assert shards.read(["http://169.254.169.254/x/a.tar"], "a", {name_key(0)}) == {}
    assert shards.read([f"{images}/d.tar"], "d", {name_key(0)}) == {}
    assert list(shards.notes) == [
        f"the images were in {tmp_path}/gone, which is not there or may not be asked: pass --images",
        "the images were in http://169.254.169.254/x, which is not there or may not be asked: pass --images",
        f"cannot read {images}/d.tar: No such file or directory",
    ]


def test_two_tars_of_one_name(images: Path, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    write_shard(tmp_path / "more/a.tar", [jpeg(20)])
    paths = [f"{images}/a.tar", f"{tmp_path}/more/a.tar"]
    key = {name_key(0)}
    for recorded, given in (((), paths), (paths, ())):
        shards = ImageShards(Folder(str(tmp_path / "set")), given)
        assert shards.read(recorded, "images/a", key) == {name_key(0): jpeg(0)}, "a set of both calls them so"
        assert shards.read(recorded, "more/a", key) == {name_key(0): jpeg(20)}
        assert shards.read_from_any(paths, {name_key(0), name_key(1)}) == {name_key(1): jpeg(1)}
    with pytest.raises(UsageError, match=r"--images: .*images/a\.tar and .*more/a\.tar are both named a$"):
        ImageShards(Folder(str(tmp_path / "set")), paths).read((), "a", key)
    assert ImageShards(Folder(str(tmp_path / "set")), [f"{images}/a.tar"]).read((), "ages/a", key) == {}
    with pytest.raises(UsageError, match="no file matches"):
        ImageShards(Folder(str(tmp_path / "set")), [f"{tmp_path}/none/*.tar"])
