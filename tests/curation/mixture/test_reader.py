"""Samples are read by their index rows, in the order of the rows, and compared with them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curation.mixture.reader import (
    CorruptSample,
    ShardFiles,
    build_members,
    build_record,
    extract_members,
    read_samples,
    to_index_rows,
)
from schemas.errors import ShardloomError
from schemas.output_set.shard_index import INDEX_SCHEMA
from schemas.records.document import Document
from schemas.records.document_storage import to_members
from schemas.storage import row_objects
from schemas.storage.folder import Folder
from tests.curation.mixture.support.sets import build_parquet, build_tar, make_image, make_row


def place(rows: Sequence[dict[str, Any]], path: str) -> list[dict[str, Any]]:
    """Index rows with their shard and number in it, as a mixture's rows have them."""
    return [{**row, "path": path, "row": number, "bytes": 1000} for number, row in enumerate(rows)]


def to_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    more = [pa.field("path", pa.string()), pa.field("row", pa.int64()), pa.field("bytes", pa.int64())]
    return pa.Table.from_pylist(list(rows), schema=pa.schema([*INDEX_SCHEMA, *more]))


def write_tar(folder: str, name: str, keys: Sequence[str]) -> list[dict[str, Any]]:
    data, rows = build_tar(keys)
    Folder(folder).write(f"data/{name}", data)
    return place(rows, f"{folder}/data/{name}")


def expected(keys: Sequence[str]) -> list[tuple[str, list[tuple[str, bytes]]]]:
    return [(key, make_image(key).to_members()) for key in keys]


@pytest.mark.parametrize("buffer_bytes", [1, 2000, 1 << 20])
@pytest.mark.parametrize("place_of", ["{}", "memory://readers"])
def test_samples_of_tars_come_in_the_order_of_the_rows(tmp_path: Path, place_of: str, buffer_bytes: int) -> None:
    folder = place_of.format(tmp_path)
    a, b = write_tar(folder, "a.tar", ["a0", "a1", "a2"]), write_tar(folder, "b.tar", ["b0", "b1"])
    rows = [b[1], a[2], a[0], b[0], b[1], a[1]]
    found = list(read_samples(to_table(rows), buffer_bytes))
    assert [(one.row["key"], one.members) for one in found] == expected(["b1", "a2", "a0", "b0", "b1", "a1"])
    later = list(read_samples(to_table([a[2], a[1]]), buffer_bytes))  # in an object, one range from its middle
    assert [(one.row["key"], one.members) for one in later] == expected(["a2", "a1"])
    assert list(read_samples(to_table(rows).slice(0, 0))) == []


def test_samples_of_parquet_come_in_the_order_of_the_rows(tmp_path: Path) -> None:
    """Rows are found by their number, in row groups of two."""
    paths = {}
    for name, keys in (("a", ["a0", "a1", "a2", "a3", "a4"]), ("b", ["b0"])):
        Folder(str(tmp_path)).write(f"data/{name}.parquet", build_parquet(keys, 2))
        paths[name] = place([make_row(key) for key in keys], f"{tmp_path}/data/{name}.parquet")
    rows = [paths["b"][0], *(paths["a"][number] for number in (4, 0, 3, 2, 3))]
    found = list(read_samples(to_table(rows)))
    assert [(one.row["key"], one.members) for one in found] == expected(["b0", "a4", "a0", "a3", "a2", "a3"])
    with pytest.raises(ShardloomError, match=rf"^cannot read {tmp_path}/data/b.parquet: "):
        list(read_samples(to_table([{**paths["b"][0], "row": 1}])))
    with pytest.raises(CorruptSample, match=rf"^{tmp_path}/data/a.parquet: a1 does not match its index row: verify"):
        list(read_samples(to_table([{**paths["a"][0], "key": "a1"}])))


@pytest.mark.parametrize("place_of", ["{}", "memory://watched"])
def test_a_watch_lasts_while_its_shard_is_read(tmp_path: Path, place_of: str) -> None:
    folder = place_of.format(tmp_path)
    tar = write_tar(folder, "a.tar", ["a0", "a1"])
    Folder(folder).write("data/b.parquet", build_parquet(["b0"], 1))
    told: list[str] = []

    @contextmanager
    def watch(path: str) -> Iterator[None]:
        told.append(f"+{path}")
        yield
        told.append(f"-{path}")

    files = ShardFiles(watch)
    files.read([tar[0], *place([make_row("b0")], f"{folder}/data/b.parquet")])
    files.close()
    lasted = [f"{folder}/data/b.parquet", f"{folder}/data/a.tar"]
    assert told == [mark + path for path in lasted for mark in "+-"]


@pytest.mark.parametrize(
    "change",
    [
        {"offset": -1},
        {"size": 1 << 40},
        {"size": None},
        {"members": None},
        {"members": [{"ending": "jpg", "offset": None, "size": 1}]},
        {"image_details": [None]},
        {"image_details": [{"width": 6, "height": 4, "sha256": "0" * 64}]},
        {"image_details": []},
        {"key": "other"},
    ],
)
def test_a_sample_that_differs_from_its_index_row(tmp_path: Path, change: dict[str, Any]) -> None:
    row = write_tar(str(tmp_path), "a.tar", ["a0", "a1"])[1] | change
    told = rf"^{tmp_path}/data/a.tar: {row['key']} does not match its index row: verify the set$"
    with pytest.raises(CorruptSample, match=told):
        ShardFiles().read([row])


def test_every_member_must_be_where_the_row_says(tmp_path: Path) -> None:
    """Its own header is right before its bytes, to the end of its name; data that are too short or long are refused."""
    [row] = write_tar(str(tmp_path), "a.tar", ["a0"])
    data = (tmp_path / "data/a.tar").read_bytes()[: row["size"]]
    assert extract_members(row, data) == make_image("a0").to_members()
    for spoilt in (data[:-1], data + b"\0", data.replace(b"a0.txt\0", b"a0.txt2")):
        with pytest.raises(CorruptSample):
            extract_members(row, spoilt)


def test_a_row_of_parquet_becomes_members() -> None:
    row = {**make_row("a0"), "path": "shard"}
    assert build_members(row, make_image("a0").to_row()) == make_image("a0").to_members()
    image = {"bytes": make_image("a0").image, "path": "a.b.a0.png"}
    assert build_members(row, {**make_image("a0").to_row(), "image": image})[0] == ("png", image["bytes"])
    for stored in ({**make_image("a0").to_row(), "image": None}, make_image("a1").to_row(), {"image": image}):
        with pytest.raises(CorruptSample, match=r"^shard: a0 does not match its index row: verify the set$"):
            build_members(row, stored)


def test_records_of_members() -> None:
    row = {**make_row("a0"), "path": "shard"}
    image = make_image("a0")
    assert build_record(row, image.to_members(), "new") == replace(image, key="new")
    text = Document("d", None, "made", None, ("words",), (), "{}")
    assert build_record({**row, "kind": "text"}, to_members(text), "new") == replace(text, key="new")
    for members in ([("jpg", b""), ("json", b"[]"), ("txt", b"")], image.to_members()[:2], image.to_members()[:1]):
        with pytest.raises(CorruptSample, match=r"^shard: a0 does not match its index row: verify the set$"):
            build_record(row, members, "new")


@pytest.mark.parametrize(
    ("paths", "place"), [(["a.tar"], "a.tar"), (["a.tar"] * 2, "a.tar"), (["a.tar", "b.tar"], "one of 2 shards")]
)
def test_an_index_with_too_many_members_is_named(monkeypatch: pytest.MonkeyPatch, paths: list[str], place: str) -> None:
    monkeypatch.setattr(row_objects, "MAX_ENTRIES", 3)
    rows = pa.table({"path": paths, "members": [[1, 2, 3]] * len(paths)})
    assert to_index_rows(rows) == [{"path": path, "members": [1, 2, 3]} for path in paths]
    with pytest.raises(CorruptSample) as error:
        to_index_rows(pa.table({"path": paths, "members": [[1, 2, 3, 4]] * len(paths)}))
    assert str(error.value) == f"{place}: its index has a list of 4 entries; at most 3 are read: verify the set"
