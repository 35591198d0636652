"""The demo's shards: img2dataset's layout readable by what reads such shards, the same each time."""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import webdataset
from PIL import Image, UnidentifiedImageError

from pipelines.demo.pictures import SCENE, draw_picture
from pipelines.demo.shards import (
    ERROR_PAGE_INDEX,
    REPEAT_INDEX,
    REPEATED_INDEX,
    SIDE_SCHEMA,
    TRUNCATED_INDEX,
    write_shards,
)
from schemas.storage.folder import Folder

COUNT, PER_SHARD, SEED = 40, 16, 5


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    assert write_shards(Folder(str(folder)), COUNT, PER_SHARD, SEED) == [f"{shard:08d}.tar" for shard in range(3)]
    return folder


def truths(shards: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (shards / "truth.jsonl").read_text(encoding="utf-8").splitlines()]


def images(shards: Path) -> dict[str, bytes]:
    """Bytes of every image member by key."""
    found = {}
    for path in sorted(shards.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".jpg"):
                    file = tar.extractfile(member)
                    assert file is not None
                    found[member.name.removesuffix(".jpg")] = file.read()
    return found


def test_the_same_arguments_give_the_same_bytes(shards: Path, tmp_path: Path) -> None:
    write_shards(Folder(str(tmp_path)), COUNT, PER_SHARD, SEED)
    for path in shards.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name
    assert len(list(tmp_path.iterdir())) == 3 * 3 + 1


def test_members_are_whole_samples_without_owner_or_time(shards: Path) -> None:
    with tarfile.open(shards / "00000001.tar") as tar:
        members = tar.getmembers()
    assert [member.name for member in members[:4]] == [
        *(f"000000010000.{ending}" for ending in ("jpg", "json", "txt")),
        "000000010001.jpg",
    ]
    assert len(members) == 3 * PER_SHARD
    assert {(member.uid, member.gid, member.mtime, member.uname) for member in members} == {(0, 0, 0, "")}


def test_webdataset_reads_every_sample(shards: Path) -> None:
    paths = sorted(str(path) for path in shards.glob("*.tar"))
    samples = list(webdataset.WebDataset(paths, shardshuffle=False, empty_check=False))
    assert [sample["__key__"] for sample in samples] == [truth["key"] for truth in truths(shards)]
    for index, sample in enumerate(samples):
        described = json.loads(sample["json"])
        assert list(described) == SIDE_SCHEMA.names
        assert sample["json"] == json.dumps(described, indent=4).encode()
        assert described["caption"] == sample["txt"].decode()
        assert described["sha256"] == hashlib.sha256(sample["jpg"]).hexdigest()
        if index not in (ERROR_PAGE_INDEX, TRUNCATED_INDEX, REPEAT_INDEX):
            assert sample["jpg"] == draw_picture(SEED, index).jpeg


def test_side_files_list_failed_rows_too(shards: Path) -> None:
    inside = images(shards)
    for path in sorted(shards.glob("*.parquet")):
        table = pq.read_table(path)
        assert table.schema.equals(SIDE_SCHEMA)
        rows, stats = table.to_pylist(), json.loads(path.with_name(f"{path.stem}_stats.json").read_text())
        failed = [row for row in rows if row["status"] != "success"]
        assert 0 < len(failed) < len(rows)
        assert all(row["error_message"] and row["width"] is None and row["key"] not in inside for row in failed)
        assert all((row["key"] in inside) == (row["status"] == "success") for row in rows)
        assert stats["count"] == len(rows) == sum(stats["status_dict"].values())
        assert stats["successes"] == len(rows) - len(failed) == stats["status_dict"]["success"]
        assert stats["failed_to_download"] + stats["failed_to_resize"] == len(failed)
        numbered = [f"{int(path.stem) * 10_000 + index:012d}" for index in range(len(rows))]
        assert [row["key"] for row in rows] == numbered


def test_truth_names_the_odd_ones_and_they_are_odd(shards: Path) -> None:
    told, inside = truths(shards), images(shards)
    assert {index: truth["fault"] for index, truth in enumerate(told) if truth["fault"]} == {
        ERROR_PAGE_INDEX: "html",
        TRUNCATED_INDEX: "truncated",
    }
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(inside[told[ERROR_PAGE_INDEX]["key"]]))
    with pytest.raises(OSError, match="truncated"):
        Image.open(io.BytesIO(inside[told[TRUNCATED_INDEX]["key"]])).load()
    assert told[ERROR_PAGE_INDEX]["items"] == told[TRUNCATED_INDEX]["items"] == []
    assert [truth["uid"] for truth in told if truth["same_bytes_as_uid"]] == [told[REPEAT_INDEX]["uid"]]
    assert told[REPEAT_INDEX]["same_bytes_as_uid"] == told[REPEATED_INDEX]["uid"]
    assert told[REPEAT_INDEX]["items"] == told[REPEATED_INDEX]["items"]
    assert inside[told[REPEAT_INDEX]["key"]] == inside[told[REPEATED_INDEX]["key"]]
    assert len({truth["uid"] for truth in told}) == COUNT


def test_truth_boxes_lie_in_the_stored_image(shards: Path) -> None:
    inside = images(shards)
    for truth in truths(shards):
        if truth["fault"] is None:
            assert Image.open(io.BytesIO(inside[truth["key"]])).size == (truth["width"], truth["height"])
        for item in truth["items"]:
            x1, y1, x2, y2 = item["bbox"]
            assert 0 <= x1 < x2 <= truth["width"]
            assert 0 <= y1 < y2 <= truth["height"]
            assert len(item["polygon"]) == 8
        for thing in truth["objects"]:
            x1, y1, x2, y2 = thing["bbox_xyxy"]
            assert 0 <= x1 < x2 <= truth["width"]
            assert 0 <= y1 < y2 <= truth["height"]
        assert bool(truth["objects"]) == bool(truth["exhaustive_for"]) == (truth["kind"] == SCENE)


@pytest.mark.parametrize(("count", "per_shard"), [(0, 8), (8, 0), (8, 5_001)])
def test_sizes_that_no_shard_has_are_refused(count: int, per_shard: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shards of"):
        write_shards(Folder(str(tmp_path)), count, per_shard)
