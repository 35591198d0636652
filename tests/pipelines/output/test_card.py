"""Whoever calls `datasets.load_dataset` on a set gets its rows and nothing else; a card that a person edits stays."""

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from pipelines.download import part as download_part
from pipelines.download.run import download
from pipelines.mix.run import mix
from pipelines.recipes.download import DownloadRecipe, DownloadRun
from pipelines.recipes.mix import MixRecipe
from pipelines.recipes.select import SelectRecipe, SelectRun
from pipelines.select.run import select
from pipelines.verify.repair import repair
from pipelines.verify.run import verify
from schemas.tar.writer import TarWriter
from tests.conftest import jpeg
from tests.pipelines.support.metadata import StandIn, write_metadata
from tests.pipelines.support.published import ROWS, SETS, caption, parts, picture, take_in, url, write_parquet
from tests.pipelines.support.sets import ALONE, annotation_set, caption_set, join, read_tars

FORMATS = ("webdataset", "parquet")


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def load(folder: Path) -> list[dict[str, Any]]:
    """All rows as `datasets` has them, images as stored."""
    loaded = datasets.load_dataset(str(folder), split="train")
    for name, feature in loaded.features.items():
        stored = datasets.Image(decode=False)
        if isinstance(feature, datasets.Image):
            loaded = loaded.cast_column(name, stored)
        elif isinstance(feature, datasets.List) and isinstance(feature.feature, datasets.Image):
            loaded = loaded.cast_column(name, datasets.List(stored))
    return list(loaded)


def images(row: dict[str, Any]) -> list[bytes]:
    """The images of a row, in whatever columns."""
    found = [value for name, value in row.items() if name != "image_details"]
    values = [each for value in found for each in (value if isinstance(value, list) else [value])]
    return [each["bytes"] for each in values if isinstance(each, dict) and each.keys() == {"bytes", "path"}]


def assert_has_members(row: dict[str, Any], members: dict[str, bytes]) -> None:
    """Every member is a column, byte for byte, and every other column is null."""
    found = {name: value for name, value in row.items() if value is not None and name[:2] != "__"}
    assert found.keys() == members.keys()
    for name, data in members.items():
        if name == "json":
            stored = json.loads(data)
            assert drop_nulls({key: found[name][key] for key in stored}) == drop_nulls(stored)
        else:
            assert (found[name].encode() if name == "txt" else found[name]["bytes"]) == data


def drop_nulls(value: Any) -> Any:
    """The value without the fields of structs that an object of JSON does not have."""
    if isinstance(value, list):
        return [drop_nulls(each) for each in value]
    return {k: drop_nulls(v) for k, v in value.items() if v is not None} if isinstance(value, dict) else value


@pytest.fixture(scope="module")
def store(make_shards: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_shards(tmp_path_factory.mktemp("store"), shards=1, samples=ROWS)


def png(number: int) -> bytes:
    file = io.BytesIO()
    Image.open(io.BytesIO(jpeg(5000 + number, 40, 40))).save(file, "PNG")
    return file.getvalue()


def write_pngs(folder: Path, count: int = 8) -> str:
    """A tar of PNGs with captions, and one sample that is no picture."""
    with (folder / "00000.tar").open("wb") as file:
        writer = TarWriter(file)
        for number in range(count):
            writer.add(f"{number:08d}.png", png(number) if number != 3 else b"no picture")
            writer.add(f"{number:08d}.json", json.dumps({"caption": f"square {number}"}).encode())
        writer.close()
    return str(folder / "00000.tar")


@pytest.mark.parametrize("form", FORMATS)
def test_rows_of_mixed_pictures(form: str, store: str, tmp_path: Path) -> None:
    """The first hundred samples are JPEGs: by them alone, `datasets` would drop all PNGs."""
    take_in("cc3m", SETS["cc3m"](tmp_path), tmp_path / "jpegs", store, samples_per_shard=5)
    take_in("datacomp", write_pngs(tmp_path), tmp_path / "pngs", format=form)
    assert verify(str(tmp_path / "pngs")) == (1, [])
    assert len(list((tmp_path / "pngs/quarantine").iterdir())) == len(list((tmp_path / "pngs/index").iterdir())) == 1
    assert [images(row) for row in load(tmp_path / "pngs")] == [[png(number)] for number in range(8) if number != 3]
    sources = {name: str(tmp_path / name) for name in ("jpegs", "pngs")}
    options: dict[str, Any] = {"weights": {"jpegs": 7, "pngs": 1}, "stop": "all_exhausted", "samples_per_shard": 7}
    mix(MixRecipe(sources=sources, format=form, run=ALONE, **options), str(tmp_path / "mixed"))
    loaded = load(tmp_path / "mixed")
    expected = {caption(row): picture(row) for row in range(ROWS)} | {
        f"square {number}": png(number) for number in range(8) if number != 3
    }
    assert len(loaded) == len(expected)
    text = "txt" if form == "webdataset" else "text"
    assert {row[text]: images(row) for row in loaded} == {said: [image] for said, image in expected.items()}
    if form == "webdataset":
        members = read_tars(tmp_path / "mixed")
        assert [row["__key__"] for row in loaded] == list(members)
        for row in loaded:
            assert_has_members(row, members[row["__key__"]])


@pytest.mark.parametrize("form", FORMATS)
def test_documents_of_several_pictures(form: str, store: str, tmp_path: Path) -> None:
    take_in("obelics", SETS["obelics"](tmp_path), tmp_path / "out", store, format=form, samples_per_shard=5)
    loaded = load(tmp_path / "out")
    assert [images(row) for row in loaded] == [[picture(row), picture((row + 5) % ROWS)] for row in range(ROWS)]
    if form == "webdataset":
        members = read_tars(tmp_path / "out")
        for row in loaded:
            assert_has_members(row, members[row["__key__"]])
    else:
        assert [row["texts"] for row in loaded] == [
            [part if isinstance(part, str) else None for part in parts(row)] for row in range(ROWS)
        ]


def test_documents_and_captions_in_one_set(store: str, tmp_path: Path) -> None:
    rows = [{"texts": ["one", None], "images": [None, url(0)]}, {"texts": ["none"], "images": [None]}]
    rows.append({"texts": [None] * 11, "images": [url(number) for number in range(11)]})
    write_parquet(tmp_path / "a.parquet", rows)
    take_in("obelics", str(tmp_path / "a.parquet"), tmp_path / "documents", store)
    take_in("cc3m", SETS["cc3m"](tmp_path), tmp_path / "captions", store)
    sources = {name: str(tmp_path / name) for name in ("documents", "captions")}
    options: dict[str, Any] = {"weights": {"documents": 1, "captions": 1}, "stop": "all_exhausted"}
    mix(MixRecipe(sources=sources, run=ALONE, **options), str(tmp_path / "mixed"))
    loaded, members = load(tmp_path / "mixed"), read_tars(tmp_path / "mixed")
    assert [row["__key__"] for row in loaded] == list(members)
    for row in loaded:
        assert_has_members(row, members[row["__key__"]])
    assert sorted(len(images(row)) for row in loaded) == [0, *[1] * (ROWS + 1), 11]
    shown = [name for name in loaded[0] if name[0].isdigit()]
    assert shown == [f"{number}.jpg" for number in range(11)], "in reading order"


@pytest.mark.parametrize("form", FORMATS)
def test_texts_alone(form: str, tmp_path: Path) -> None:
    take_in("text", SETS["text"](tmp_path), tmp_path / "out", format=form)
    loaded = load(tmp_path / "out")
    texts = [row["json"]["parts"] if form == "webdataset" else row["texts"] for row in loaded]
    wanted = [caption(row) for row in range(ROWS)]
    assert texts == [[{"text": each, "image": None}] if form == "webdataset" else [each] for each in wanted]
    assert [images(row) for row in loaded] == [[]] * ROWS


def test_captions_and_training_shards(make_shards: Callable[..., str], tmp_path: Path) -> None:
    shards = make_shards(tmp_path / "images", shards=2, samples=8)
    captions = caption_set(annotation_set(shards, tmp_path / "annotations"), tmp_path / "captions")
    loaded = load(captions)
    stored = [row for path in sorted((captions / "data").iterdir()) for row in pq.read_table(path).to_pylist()]
    assert (loaded, 0 < len(loaded) < 16) == (stored, True)
    join(shards, captions, tmp_path / "training", samples_per_shard=5)
    members = read_tars(tmp_path / "training")
    found = load(tmp_path / "training")
    assert [row["__key__"] for row in found] == list(members)
    for row in found:
        assert_has_members(row, members[row["__key__"]])
        assert [hashlib.sha256(image).hexdigest() for image in images(row)] == [row["json"]["sha256"]]


def test_downloaded_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables beside the tars are no data, nor are their rows of what failed."""
    monkeypatch.setattr(download_part, "download_images", StandIn())
    monkeypatch.setattr("pipelines.img2dataset.placement.ensure_environment", lambda _: None)
    urls: list[str | None] = [f"https://a.example/{end}" for end in ("3.jpg", "http_404", "5.jpg", "http_503", "7.jpg")]
    path = write_metadata(tmp_path / "a.parquet", urls, face_bboxes=[[[0.1, 0.1, 0.5, 0.5]], [], [], [], []])
    recipe = DownloadRecipe(input=[path], urls_per_shard=2, run=DownloadRun(workers=1))
    download(recipe, str(tmp_path / "out"))
    members = read_tars(tmp_path / "out")
    loaded = load(tmp_path / "out")
    assert [images(row) for row in loaded] == [[jpeg(3)], [jpeg(5)], [jpeg(7)]]
    for row in loaded:
        assert_has_members(row, members[row["__key__"]])
    download(recipe, str(tmp_path / "out"), retry_failed=True)
    assert load(tmp_path / "out") == loaded


def chosen(folder: Path, **tables: dict[str, Any]) -> Path:
    """What `select` writes of all the metadata in `folder`, with these files added."""
    (folder / "metadata").mkdir(parents=True, exist_ok=True)
    for name, columns in tables.items():
        uids = [hashlib.md5(f"{name}{n}".encode()).hexdigest() for n in range(len(next(iter(columns.values()))))]
        table = pa.table({"uid": uids, "url": ["http://a.b/c"] * len(uids)} | columns)
        pq.write_table(table, folder / f"metadata/{name}.parquet")
    recipe = SelectRecipe(input=[f"{folder}/metadata/*.parquet"], run=SelectRun(workers=1))
    select(recipe, str(folder / "out"))
    return folder / "out"


def test_tables_with_other_columns(tmp_path: Path) -> None:
    """Of the files of a selection, which keep what they had: `datasets` goes by the first."""
    names = pa.array(["x", "y", "x"]).dictionary_encode()
    scores = {"score": [1, 2], "note": [None, None], "id": [1, 2]}
    output = chosen(tmp_path, a=scores, b={"score": [0.5], "note": ["b"], "id": ["three"]}, c={"name": names})
    loaded = load(output)
    assert [row["score"] for row in loaded] == [1.0, 2.0, 0.5, None, None, None]
    assert [row["note"] for row in loaded] == [None, None, "b", None, None, None]
    assert [row["id"] for row in loaded] == ["1", "2", "three", None, None, None]
    assert [row["name"] for row in loaded] == [None, None, None, "x", "y", "x"]


def test_a_type_that_none_can_load_is_named(tmp_path: Path) -> None:
    more = pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int32()))
    card = (chosen(tmp_path, a={"more": more}) / "README.md").read_text()
    assert "`datasets` cannot load this set: column more has the type map<string, int32" in card
    assert "dataset_info" not in card


def read_metadata(output: Path) -> Any:
    return yaml.safe_load((output / "README.md").read_text().split("---\n")[1])


def test_a_card_follows_its_set(tmp_path: Path) -> None:
    output = chosen(tmp_path, a={"score": [1, 2]})
    card = (output / "README.md").read_bytes()
    assert read_metadata(output) == {
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/*"}]}],
        "dataset_info": {
            "features": [
                {"name": "uid", "dtype": "string"},
                {"name": "url", "dtype": "string"},
                {"name": "score", "dtype": "int64"},
            ]
        },
    }
    assert (chosen(tmp_path / "again", a={"score": [1, 2]}) / "README.md").read_bytes() == card
    chosen(tmp_path, b={"name": ["x"]})
    assert [each["name"] for each in read_metadata(output)["dataset_info"]["features"]][2:] == ["score", "name"]


def test_an_edited_card_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = chosen(tmp_path, a={"score": [1, 2]})
    card = output / "README.md"
    edited = card.read_text().replace("# Output of", "# My own words on")
    card.write_text(edited)
    assert verify(str(output)) == (1, [])
    capsys.readouterr()
    chosen(tmp_path, b={"score": [3]})
    assert (card.read_text(), capsys.readouterr().err) == (edited, "")
    chosen(tmp_path, c={"name": ["x"]})
    assert card.read_text() == edited
    assert f"{card} was edited and is kept, but its dataset_info are not those of the set" in capsys.readouterr().err
    (output / "data/a.parquet").write_bytes(b"")
    assert repair(str(output)).removed == ["a"]
    chosen(tmp_path)
    assert (card.read_text(), verify(str(output))) == (edited, (3, []))


@pytest.mark.parametrize("words", ["# My set\n", "", "---\n- a\n---\n", "---\n{\n---\n", "---\na: 1\na: 2\n---\n"])
def test_a_card_that_a_person_has_written_stays(words: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/README.md").write_text(words)
    output = chosen(tmp_path, a={"score": [1, 2]})
    assert ((output / "README.md").read_text(), verify(str(output))) == (words, (1, []))


def test_a_set_without_a_card_is_as_before(tmp_path: Path) -> None:
    output = chosen(tmp_path, a={"score": [1, 2]})
    card = (output / "README.md").read_bytes()
    (output / "README.md").unlink()
    assert verify(str(output)) == (1, [])
    assert chosen(tmp_path) == output
    assert (output / "README.md").read_bytes() == card, "the command that made a set makes its card"
