"""Which ranges of an object are read by one request, and which files are read at all."""

import os
from contextlib import nullcontext
from pathlib import Path

import pytest

from curation.mixture.ranges import MAX_GAP_BYTES, MAX_RANGE_BYTES, ByteRange, RangeReader, group_adjacent
from schemas.errors import ShardloomError
from schemas.output_set.image_folders import ADVICE


def test_neighbours() -> None:
    ranges = [
        ByteRange("a", 0, 1000),
        ByteRange("a", 1000, 1000),
        ByteRange("a", 1000, 1000),  # drawn twice
        ByteRange("a", 2000 + MAX_GAP_BYTES, 1000),
        ByteRange("a", 3001 + 2 * MAX_GAP_BYTES, 10),  # too far away
        ByteRange("b", 3100 + 2 * MAX_GAP_BYTES, 10),  # in another file
        ByteRange("b", 3200 + 2 * MAX_GAP_BYTES, MAX_RANGE_BYTES),  # too much at once
        ByteRange("b", 3200 + 2 * MAX_GAP_BYTES + MAX_RANGE_BYTES, 1),
    ]
    assert list(group_adjacent(ranges)) == [ranges[:4], ranges[4:5], ranges[5:6], ranges[6:7], ranges[7:]]
    assert list(group_adjacent([])) == []


@pytest.fixture
def tar(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    path = tmp_path / "data/0.tar"
    path.write_bytes(bytes(range(100)))
    return path


def test_ranges_come_in_the_order_asked_for_and_are_read_in_that_of_the_files(tar: Path) -> None:
    other = tar.with_name("1.tar")
    other.write_bytes(b"other")
    read: list[str] = []
    reader = RangeReader(lambda path: read.append(Path(path).name) or nullcontext())
    wanted = [ByteRange(str(other), 1, 2), ByteRange(str(tar), 90, 10), ByteRange(str(tar), 0, 2)]
    assert reader.read(wanted) == [b"th", bytes(range(90, 100)), b"\0\1"]
    assert read == ["0.tar", "0.tar", "1.tar"]
    reader.close()


def test_few_files_are_open_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was used longest ago is closed first."""
    monkeypatch.setattr("curation.mixture.ranges.MAX_OPEN_FILES", 2)
    (tmp_path / "data").mkdir()
    paths = [tmp_path / "data" / name for name in "abc"]
    for path in paths:
        path.write_bytes(path.name.encode())
    reader = RangeReader()
    for path in (paths[0], paths[1], paths[0], paths[2]):
        assert reader.read([ByteRange(str(path), 0, 1)]) == [path.name.encode()]
    assert list(reader._descriptors) == [str(paths[0]), str(paths[2])]
    assert all(os.fstat(one).st_ino == Path(path).stat().st_ino for path, one in reader._descriptors.items())
    reader.close()
    assert reader._descriptors == {}


def test_a_range_outside_of_its_file_gives_nothing(tar: Path) -> None:
    reader = RangeReader()
    places = [(90, 11), (-1, 2), (0, -1), (1 << 60, 1 << 60)]
    assert reader.read([ByteRange(str(tar), *place) for place in places]) == [b""] * 4
    reader.close()


def test_links_are_followed_to_images_only(tar: Path) -> None:
    """A hub's cache is made of links, but nobody links a shard of a set."""
    link = tar.with_name("link.tar")
    link.symlink_to(tar)
    reader = RangeReader()
    assert reader.read([ByteRange(str(link), 1, 2, is_image=True)]) == [b"\1\2"]
    reader.close()
    with pytest.raises(ShardloomError, match="only regular files inside the folder are read"):
        RangeReader().read([ByteRange(str(link), 1, 2)])


def test_a_pipe_is_not_waited_for(tar: Path) -> None:
    pipe = tar.with_name("pipe.tar")
    os.mkfifo(pipe)
    with pytest.raises(ShardloomError) as error:
        RangeReader().read([ByteRange(str(pipe), 0, 1, is_image=True)])
    assert str(error.value) == (
        f"cannot read {pipe}: it is not a regular file: it holds images that a set refers to; {ADVICE}"
    )
