"""What a first pass over a shard finds lets outputs read parts of it, and no part that has changed since."""

import contextlib
import dataclasses
import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from pipelines.inputs.shards import InputShard
from pipelines.shard import census as census_module
from pipelines.shard.caption_set import CaptionSet
from pipelines.shard.census import Census, take_census
from pipelines.shard.join import JoinedSample, QuarantinedSample
from pipelines.shard.plan import cut_units
from schemas.errors import ShardloomError
from schemas.records.caption import Caption
from schemas.storage.folder import Folder
from tests.conftest import jpeg, write_shard
from tests.pipelines.support.sets import annotation_set, caption_set, lines_of

SAMPLES = 20
GOOD = [bool(lines_of(f"{number:012d}")) for number in range(SAMPLES)]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census_module, "BLOCK_SAMPLES", 3)


@pytest.fixture(scope="module")
def captions(make_shards: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> CaptionSet:
    folder = tmp_path_factory.mktemp("census")
    images = make_shards(folder / "images", 1, SAMPLES)
    made = annotation_set(images, folder / "annotations", lambda key: lines_of(key) if key.isdigit() else [])
    return CaptionSet(str(caption_set(made, folder / "captions")))


def written(path: Path) -> InputShard:
    """The shard that the captions are of."""
    write_shard(path, [jpeg(number) for number in range(SAMPLES)])
    return InputShard(path.stem, str(path))


def add(path: Path, name: str, data: bytes) -> None:
    with tarfile.open(path, "a", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        info.mtime = 1.5  # type: ignore[assignment]  # a pax header before each member, as webdataset's older writers have it
        tar.addfile(info, io.BytesIO(data))


def plain(path: Path) -> None:
    pass


def pax(path: Path) -> None:
    for number in range(4):
        add(path, f"é{number}/{'x' * 120}.jpg", jpeg(number))
        add(path, f"é{number}/{'x' * 120}.json", b"{}")


def repeated(path: Path) -> None:
    add(path, "000000000003.jpg", jpeg(3))
    add(path, "000000000003.json", b"{}")


def damaged(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[20_000:24_000] = b"U" * 4000
    path.write_bytes(data)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20_000])


def told(found: JoinedSample | QuarantinedSample) -> tuple[Any, ...]:
    if isinstance(found, QuarantinedSample):
        return found.key, found.uid, str(found.fault)
    image = found.matched.image
    return image.key, image.image.data, image.caption, found.matched.sha256, found.captions_json


@pytest.mark.parametrize(
    ("change", "has_starts"), [(plain, True), (pax, True), (repeated, False), (damaged, False), (cut_short, False)]
)
def test_any_part_is_what_the_whole_shard_holds(
    captions: CaptionSet, tmp_path: Path, change: Callable[[Path], None], has_starts: bool
) -> None:
    shard = written(tmp_path / "00000000.tar")
    change(tmp_path / "00000000.tar")
    census = take_census(captions, shard)
    count = len(census.good)
    assert (census.starts is not None) == has_starts
    whole = [told(found) for found in dataclasses.replace(census, starts=None).read_samples(captions, 0, count)]
    assert [len(each) == 5 for each in whole] == census.good.tolist()
    assert len(whole) == count
    for start in range(count + 1):
        for stop in {start, min(start + 1, count), min(start + 4, count), count}:
            assert [told(found) for found in census.read_samples(captions, start, stop)] == whole[start:stop]


def test_captions_that_we_rendered_are_not_parsed(captions: CaptionSet, tmp_path: Path) -> None:
    def parse(text: str) -> list[Caption]:
        raise AssertionError(text)

    blind = CaptionSet(captions.folder.url)
    blind.family = dataclasses.replace(captions.family, parse=parse)
    assert take_census(blind, written(tmp_path / "00000000.tar")).good.tolist() == GOOD


class Counting:
    """A file that counts what is read of it."""

    def __init__(self, file: BinaryIO, counts: list[int]) -> None:
        self.file, self.counts = file, counts

    def read(self, size: int = -1) -> bytes:
        data = self.file.read(size)
        self.counts[-1] += len(data)
        return data

    def seek(self, position: int) -> int:
        return self.file.seek(position)


def test_outputs_read_their_own_blocks_alone(
    captions: CaptionSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard, counts, before = written(tmp_path / "00000000.tar"), [0], Folder.open

    @contextlib.contextmanager
    def opened(self: Folder, name: str) -> Iterator[Any]:
        with before(self, name) as file:
            yield Counting(file, counts) if name.endswith(".tar") else file

    monkeypatch.setattr(Folder, "open", opened)
    census = take_census(captions, shard)
    assert counts == [shard.get_size()]
    units = cut_units([census], 9)
    places = [(stretch.start, stretch.stop) for unit in units for stretch in unit.sample_ranges]
    assert places == [(0, 12), (12, 20)]
    assert census.starts is not None
    starts = census.starts.tolist()
    for start, stop in places:
        counts.append(0)
        assert len(list(census.read_samples(captions, start, stop))) == stop - start
    assert counts[1:] == [starts[4], starts[7] - starts[4]]


def overwrite(shard: InputShard, old: bytes, new: bytes) -> None:
    path = Path(shard.path)
    data = path.read_bytes()
    assert data.count(old) == 1
    path.write_bytes(data.replace(old, new))


def other_image(shard: InputShard) -> None:
    old = jpeg(8)
    overwrite(shard, old, old[:-3] + bytes([old[-3] ^ 1]) + old[-2:])


def other_alt_text(shard: InputShard) -> None:
    data = Path(shard.path).read_bytes()
    place = data.rindex(b"picture 000000000008")
    Path(shard.path).write_bytes(data[:place] + b"Picture" + data[place + 7 :])


def shorter(shard: InputShard) -> None:
    write_shard(Path(shard.path), [jpeg(number) for number in range(8)])


def one_more_in_front(shard: InputShard) -> None:
    write_shard(Path(shard.path), [jpeg(99), *(jpeg(number) for number in range(SAMPLES))])


@pytest.mark.parametrize("change", [other_image, other_alt_text, shorter, one_more_in_front])
@pytest.mark.parametrize("has_starts", [True, False])
def test_a_shard_that_has_changed_since_is_refused(
    captions: CaptionSet, tmp_path: Path, change: Callable[[InputShard], None], has_starts: bool
) -> None:
    shard = written(tmp_path / "00000000.tar")
    census: Census = take_census(captions, shard)
    if not has_starts:
        census = dataclasses.replace(census, starts=None)
    change(shard)
    with pytest.raises(ShardloomError, match=r"00000000\.tar has changed since this run began: run the same command"):
        list(census.read_samples(captions, 6, 12))
