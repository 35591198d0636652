"""Images are found by their address alone, in what was given first; nothing leads out of what was given."""

import gzip
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import fsspec
import numpy as np
import pytest

from pipelines.cluster.runner import Runner
from pipelines.ingest.stores.folder import FolderStore
from pipelines.ingest.stores.open import find_image_tars, open_stores
from pipelines.ingest.stores.shards import _ROW, ShardStore, _set_tar_number
from pipelines.ingest.stores.store import find_image
from pipelines.ingest.stores.url_map import MapStore
from pipelines.recipes.base import RunOptions
from schemas.errors import UsageError
from schemas.records.quarantine import Reason, Rejected
from schemas.storage.folder import Folder
from schemas.tar.writer import TarWriter
from tests.conftest import jpeg

ALONE = RunOptions(workers=1)


def url(shard: int, number: int) -> str:
    return f"https://example.org/{10_000 * shard + number:012d}.jpg"


def opened(pattern: str, output: Path) -> ShardStore:
    """A store of these shards, as a worker gets it."""
    store = ShardStore(find_image_tars([pattern]))
    store.prepare(Folder(str(output)), Runner.open(ALONE))
    copy: ShardStore = pickle.loads(pickle.dumps(store))  # noqa: S301  our own bytes
    return copy


def test_every_image_of_shards_is_found_by_its_url(make_shards: Callable[..., str], tmp_path: Path) -> None:
    store = opened(make_shards(tmp_path / "images", shards=3, samples=40), tmp_path / "out")
    for shard in range(3):
        for number in range(40):
            assert store.get(url(shard, number)) == jpeg(1000 * shard + number)
    assert [store.get(address) for address in (url(0, 40), url(3, 0), "", url(0, 0).upper())] == [None] * 4
    assert len(pickle.dumps(store)) < 2000


def test_of_one_url_in_two_shards_the_first_counts(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        with (tmp_path / f"{name}.tar").open("wb") as file:
            writer = TarWriter(file)
            for number, data in enumerate((f"{name} one".encode(), f"{name} two".encode())):
                writer.add(f"{number}.jpg", data)
                writer.add(f"{number}.json", json.dumps({"url": "https://example.org/same"}).encode())
            writer.close()
    assert opened(f"{tmp_path}/*.tar", tmp_path / "out").get("https://example.org/same") == b"a one"


def test_the_table_is_made_once(make_shards: Callable[..., str], tmp_path: Path) -> None:
    pattern = make_shards(tmp_path / "images", shards=1, samples=4)
    opened(pattern, tmp_path / "out")
    table = tmp_path / "out/parts/images.arrow"
    made = table.stat().st_mtime_ns
    opened(pattern, tmp_path / "out")
    assert table.stat().st_mtime_ns == made
    make_shards(tmp_path / "images", shards=2, samples=4)
    store = opened(pattern, tmp_path / "out")
    assert table.stat().st_mtime_ns > made
    assert store.get(url(1, 3)) == jpeg(1003)


def test_shards_without_urls_hold_nothing(tmp_path: Path) -> None:
    with (tmp_path / "a.tar").open("wb") as file:
        writer = TarWriter(file)
        writer.add("1.jpg", b"image")
        writer.add("1.json", b"{}")
        writer.close()
    assert opened(f"{tmp_path}/a.tar", tmp_path / "out").get("x") is None


def test_a_damaged_tar_of_a_store_is_told(make_shards: Callable[..., str], tmp_path: Path) -> None:
    """One that is cut, and one that is gzip, beside a sound one; also by the table that an interrupted run left."""
    make_shards(tmp_path / "images", shards=3, samples=4)
    cut, packed = (tmp_path / f"images/0000000{number}.tar" for number in (1, 2))
    cut.write_bytes(cut.read_bytes()[:-8192])
    packed.write_bytes(gzip.compress(packed.read_bytes()))
    for _ in range(2):
        store = opened(f"{tmp_path}/images/*.tar", tmp_path / "out")
        assert [line.rpartition(": ")[2] for line in store.damage] == [
            "the tar ends without an end marker",
            "compressed by gzip (decompress it first)",
        ]
        assert [line.partition(": ")[0] for line in store.damage] == ["images 00000001.tar", "images 00000002.tar"]
    assert (store.get(url(0, 3)), store.get(url(2, 0))) == (jpeg(3), None)


def test_two_downloads_have_tars_of_the_same_names(make_shards: Callable[..., str], tmp_path: Path) -> None:
    make_shards(tmp_path / "a", shards=1, samples=2)
    make_shards(tmp_path / "b", shards=2, samples=2)
    (store,) = open_stores([f"{tmp_path}/a/*.tar", f"{tmp_path}/b/*.tar", f"{tmp_path}/*/00000000.tar"])
    assert store.revision.path == f"3 tars from {tmp_path}/a/00000000.tar"
    store.prepare(Folder(str(tmp_path / "out")), Runner.open(ALONE))
    assert [store.get(url(0, 1)), store.get(url(1, 1)), store.get(url(2, 1))] == [jpeg(1), jpeg(1001), None]


def test_maps_name_files_beside_them(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.jpg").write_bytes(b"a")
    entries = {"https://a": "images/a.jpg", "https://b": {"file": "images/a.jpg", "more": 1}, "https://c": "images/c"}
    (tmp_path / "map.json").write_text(json.dumps(entries))
    store = MapStore(str(tmp_path / "map.json"))
    assert [store.get(address) for address in (*entries, "https://d")] == [b"a", b"a", None, None]


def test_two_states_of_a_folder_or_of_a_map_are_told_apart(tmp_path: Path) -> None:
    images = tmp_path / "images"
    (images / "in").mkdir(parents=True)
    (images / "in/a.jpg").write_bytes(b"a")
    (images / "map.json").write_text(json.dumps({"https://a": "in/a.jpg", "https://b": "b.jpg", "https://c": "\0"}))

    def states() -> tuple[str, str, str]:
        fs = fsspec.filesystem("memory")
        fs.rm("/states", recursive=True) if fs.exists("/states") else None
        fs.put(str(images), "/states", recursive=True)
        stores = FolderStore(str(images)), MapStore(str(images / "map.json")), FolderStore("memory://states")
        return stores[0].revision.sha256, stores[1].revision.sha256, stores[2].revision.sha256

    first = states()
    Folder(str(images)).write("out/recipe.yaml", b"a set of our own")
    Folder(str(images)).write("out/data/0.tar", b"that grows")
    for name in (".DS_Store", "in/.nfs0000000000c0ffee", "in/._a.jpg", "in/.git/HEAD", "Thumbs.db", "__MACOSX/a.jpg"):
        Folder(str(images)).write(name, b"another program's")
    assert states() == first
    (images / "in/a.jpg").write_bytes(b"aa")
    larger = states()
    (images / "b.jpg").write_bytes(b"b")
    more = states()
    for store in range(3):
        assert len({first[store], larger[store], more[store]}) == 3


@pytest.mark.parametrize("text", ["", "[]", '{"https://a": 1}', '{"https://a": {}}', '{"https://a": ""}'])
def test_what_is_no_map_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "map.json").write_text(text)
    with pytest.raises(UsageError, match=r"images: .*map\.json is not a map of URLs to files: "):
        MapStore(str(tmp_path / "map.json"))


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../secret", "in/../../secret", "in\\secret", "file:///secret", "in", "a\0b"]
)
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "folder/in").mkdir(parents=True)
    (tmp_path / "folder/map.json").write_text(json.dumps({"https://a": name}))
    with pytest.raises(Rejected) as fault:
        MapStore(str(tmp_path / "folder/map.json")).get("https://a")
    assert fault.value.reason == Reason.LOST_IMAGE
    assert fault.value.detail.startswith(f"{name!r} is not ")
    if "://" in name:  # an address of the web is in no folder, but may be in the next store
        assert FolderStore(str(tmp_path / "folder")).get(name) is None
    else:
        with pytest.raises(Rejected):
            FolderStore(str(tmp_path / "folder")).get(name)


def test_the_first_store_that_has_it_counts(make_shards: Callable[..., str], tmp_path: Path) -> None:
    pattern = make_shards(tmp_path / "images", shards=1, samples=2)
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "both.jpg").write_bytes(folder.encode())
    (tmp_path / "two/second.jpg").write_bytes(b"second")
    stores = open_stores([pattern, str(tmp_path / "one"), str(tmp_path / "two")])
    for store in stores:
        store.prepare(Folder(str(tmp_path / "out")), Runner.open(ALONE))
    assert find_image(stores, "both.jpg") == b"one"
    assert find_image(stores, "second.jpg") == b"second"
    assert find_image(stores, url(0, 1)) == jpeg(1)
    with pytest.raises(Rejected, match=r"lost_image: none\.jpg is in no store"):
        find_image(stores, "none.jpg")


def test_a_glob_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file matches"):
        open_stores([f"{tmp_path}/*.tar"])
    (tmp_path / "x.zip").touch()
    with pytest.raises(UsageError, match=r"x\.zip is not a \.tar file"):
        open_stores([f"{tmp_path}/*.zip"])


def test_tables_of_other_processes_are_numbered() -> None:
    """What Ray hands over is read-only, and stays as it is."""
    rows = np.zeros(2, _ROW)
    rows.flags.writeable = False
    assert _set_tar_number(rows, 3)["tar"].tolist() == [3, 3]
    assert rows["tar"].tolist() == [0, 0]


def test_links_that_lie_below_the_folder_are_followed(tmp_path: Path) -> None:
    """To files, to folders and back to where they are; to what is no file, and to nothing, there is no way."""
    elsewhere, folder = tmp_path / "disk", tmp_path / "folder"
    (elsewhere / "coco").mkdir(parents=True)
    folder.mkdir()
    (elsewhere / "coco/a.jpg").write_bytes(b"a")
    before = FolderStore(str(folder)).revision
    (folder / "coco").symlink_to(elsewhere / "coco")
    (folder / "a.jpg").symlink_to(elsewhere / "coco/a.jpg")
    (folder / "gone.jpg").symlink_to(elsewhere / "gone.jpg")
    (folder / "device.jpg").symlink_to("/dev/zero")
    (folder / "loop").symlink_to(folder)
    store = FolderStore(str(folder))
    assert [store.get(name) for name in ("coco/a.jpg", "a.jpg", "gone.jpg", "loop/a.jpg")] == [b"a", b"a", None, b"a"]
    for name in ("device.jpg", "coco", "coco/../a.jpg", str(elsewhere / "coco/a.jpg")):
        with pytest.raises(Rejected, match="lost_image"):
            store.get(name)
    assert store.revision.sha256 != before.sha256
    (elsewhere / "coco/a.jpg").write_bytes(b"aa")
    assert FolderStore(str(folder)).revision.sha256 != store.revision.sha256
    (tmp_path / "root").symlink_to(folder)
    assert FolderStore(str(tmp_path / "root")).get("coco/a.jpg") == b"aa"


def test_a_caption_costs_no_image_of_a_store(tmp_path: Path) -> None:
    """Nor does its ending, as what is stored there is what is asked for."""
    with (tmp_path / "a.tar").open("wb") as file:
        writer = TarWriter(file)
        for key, ending, more in (("1", "jpg", {"caption": ["a"]}), ("2", "jfif", {})):
            writer.add(f"{key}.{ending}", ending.encode())
            writer.add(f"{key}.json", json.dumps({"url": f"https://example.org/{key}"} | more).encode())
        writer.add("3.jpg", b"x")
        writer.add("3.txt", b"caf\xe9")
        writer.close()
    store = opened(f"{tmp_path}/a.tar", tmp_path / "out")
    assert [store.get(f"https://example.org/{key}") for key in (1, 2)] == [b"jpg", b"jfif"]


def test_compressed_tars_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").touch()
    with pytest.raises(UsageError, match=r"a\.tar\.gz is compressed by gzip, which is not read: decompress it first"):
        find_image_tars([f"{tmp_path}/a*"])
