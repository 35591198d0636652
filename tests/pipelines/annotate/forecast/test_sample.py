"""The sample of a probe: whole samples from all over the input, each once, with their bytes as they were."""

from pathlib import Path

import pytest

from pipelines.annotate.forecast import sample as sample_module
from pipelines.annotate.forecast.sample import SampleDrawer, draw_shards
from pipelines.inputs.shards import list_input_shards
from schemas.storage.folder import Folder
from schemas.tar.reader import TarReader
from tests.conftest import jpeg, write_shard
from tests.pipelines.support.sets import read_tars


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images") / "data"
    folder.mkdir()
    for shard in range(3):
        write_shard(folder / f"{shard}.tar", [jpeg(40 * shard + number) for number in range(40)], first=40 * shard)
    return folder


def make_drawer(images: Path, length: int = 4, seed: int = 0) -> SampleDrawer:
    return SampleDrawer(list_input_shards([f"{images}/*.tar"], ".tar"), length, seed)


@pytest.mark.parametrize("window", [8 << 20, 20_000])
def test_samples_are_whole_and_none_comes_twice(images: Path, window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_module, "WINDOW_BYTES", window)
    drawer = make_drawer(images)
    runs = list(drawer.draw(12))
    keys = [one.key for run in runs for one in run]
    assert len(keys) == len(set(keys)) > 24
    assert {int(key) // 40 for key in keys} == {0, 1, 2}, "from all shards"
    for one in (one for run in runs for one in run):
        assert list(one.members) == ["jpg", "json", "txt"]
        assert one.members["jpg"].data == jpeg(int(one.key))
    assert drawer.total_bytes == sum(path.stat().st_size for path in images.iterdir())
    assert drawer.drawn_bytes == pytest.approx(drawer.total_bytes * len(keys) / 120, rel=0.2)


def test_a_seed_gives_the_same_sample(images: Path) -> None:
    def draw(seed: int) -> list[str]:
        return [one.key for run in make_drawer(images, seed=seed).draw(5) for one in run]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_an_input_that_ends_before_the_probe(images: Path) -> None:
    drawer = make_drawer(images, length=16)
    assert 100 < sum(map(len, drawer.draw(1000))) <= 120
    empty = images.parent / "empty"
    empty.mkdir()
    write_shard(empty / "0.tar", [])
    assert list(make_drawer(empty).draw(3)) == []


def test_shards_of_the_sample(images: Path, tmp_path: Path) -> None:
    drawer = make_drawer(images)
    folder = Folder(str(tmp_path / "data"))
    assert draw_shards(drawer, folder, "main", 6) == ["main-00000.tar", "main-00001.tar"]
    with Path(tmp_path, "data/main-00000.tar").open("rb") as file:
        reader = TarReader(file)
        assert [one.key for one in reader] == [f"{number:09d}" for number in range(16)]
        assert reader.damage == []
    found = [one["jpg"] for one in read_tars(tmp_path).values()]
    assert set(found) <= {jpeg(number) for number in range(120)}
