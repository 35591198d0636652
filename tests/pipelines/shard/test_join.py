"""Images find their captions by uid or URL, in our own sets and in published ones, or are left out with a reason."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset

from schemas.errors import ShardloomError, UsageError
from tests.conftest import jpeg, write_shard
from tests.pipelines.support.sets import annotation_set, caption_set, join, lines_of, rows

SHARDS, SAMPLES = 3, 20
KEYS = [f"{10_000 * shard + number:012d}" for shard in range(SHARDS) for number in range(SAMPLES)]
GOOD = [key for key in KEYS if lines_of(key)]
Set = tuple[str, Path]  # glob of the images, folder of their captions


def image_of(key: str) -> bytes:
    return jpeg(1000 * (int(key) // 10_000) + int(key) % 10_000)


@pytest.fixture(scope="module")
def made(make_shards: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Set:
    folder = tmp_path_factory.mktemp("shard")
    images = make_shards(folder / "images", SHARDS, SAMPLES)
    return images, caption_set(annotation_set(images, folder / "annotations"), folder / "captions")


def test_captions_of_other_bytes_are_misaligned(made: Set, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    keys = GOOD[:4]
    first = int(keys[0])
    write_shard(tmp_path / "images/x.tar", [image_of(f"{first:012d}"), jpeg(99_999), jpeg(99_998)], first)
    totals = join(f"{tmp_path}/images/*.tar", made[1], tmp_path / "out")
    assert totals.reasons == {"misaligned": 2}
    left_out = rows(tmp_path / "out", "quarantine")
    assert [row["key"] for row in left_out] == [f"{first + 1:012d}", f"{first + 2:012d}"]
    was, now = (hashlib.sha256(data).hexdigest() for data in (image_of(f"{first + 1:012d}"), jpeg(99_999)))
    assert left_out[0]["detail"] == f"captions of bytes {was}, image of {now}"


def foreign(folder: Path, found: list[dict[str, Any]], columns: tuple[str, ...]) -> Path:
    """A folder as published: plain Parquet, other names, other order, no manifests, `upto` for `up to`."""
    folder.mkdir()
    table = [{name: row[name].replace("up to", "upto") for name in columns} for row in reversed(found)]
    pq.write_table(pa.Table.from_pylist(table[:20]), folder / "001.parquet")
    pq.write_table(pa.Table.from_pylist(table[20:]), folder / "002.parquet")
    return folder


@pytest.mark.parametrize("identity", ["uid", "url"])
def test_a_published_caption_set_will_do(made: Set, tmp_path: Path, identity: str) -> None:
    join(*made, tmp_path / "ours")
    columns = (identity, "captions", "metadata")
    captions = foreign(tmp_path / "blip3[1]", rows(made[1], "data"), columns)
    totals = join(made[0], captions, tmp_path / "out")
    assert (totals.rows_in, totals.rows_out, totals.reasons) == (60, 48, {"no_caption": 12})
    tars = [sorted((folder / "data").glob("*.tar")) for folder in (tmp_path / "out", tmp_path / "ours")]
    for one, other in zip(*tars, strict=True):
        here, there = (list(webdataset.WebDataset(str(path), shardshuffle=False)) for path in (one, other))
        assert [(s["__key__"], s["jpg"], s["txt"]) for s in here] == [(s["__key__"], s["jpg"], s["txt"]) for s in there]


def test_captions_that_make_no_sense_cost_no_neighbour(made: Set, tmp_path: Path) -> None:
    found = rows(made[1], "data")
    found[0]["captions"] = "[{'text': 'no JSON'}]"
    found[1]["captions"] = '[{"text": 1}]'
    captions = foreign(tmp_path / "captions", found, ("uid", "captions"))
    pq.write_table(pa.table({"uid": [None], "captions": [None]}), captions / "003.parquet")
    totals = join(made[0], captions, tmp_path / "out")
    assert totals.reasons == {"no_caption": 14}
    details = [row["detail"] for row in rows(tmp_path / "out", "quarantine") if "can't be read" in row["detail"]]
    assert len(details) == 2


def test_captions_without_the_columns_are_refused(made: Set, tmp_path: Path) -> None:
    captions = foreign(tmp_path / "captions", rows(made[1], "data"), ("key", "captions"))
    with pytest.raises(UsageError, match="lack the columns `captions` and one of `uid`, `url`"):
        join(made[0], captions, tmp_path / "out")
    (captions / "001.parquet").write_bytes(b"PAR1 no Parquet PAR1")
    with pytest.raises(ShardloomError, match="cannot read captions in"):
        join(made[0], captions, tmp_path / "out")


def test_an_image_without_uid_is_found_by_its_url(made: Set, tmp_path: Path) -> None:
    url = f"https://example.org/{GOOD[0]}.jpg"
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for kind, data in (("jpg", image_of(GOOD[0])), ("json", json.dumps({"url": url}).encode())):
            info = tarfile.TarInfo(f"a.{kind}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    assert join(f"{tmp_path}/x.tar", made[1], tmp_path / "out").rows_out == 1


def test_what_was_never_rendered_is_refused(made: Set, tmp_path: Path) -> None:
    few = caption_set(made[1].with_name("annotations"), tmp_path / "few", granularities=[5], raw_caption="without")
    with pytest.raises(UsageError, match=r"granularity: .* holds 5 and not 0"):
        join(made[0], few, tmp_path / "out")
    with pytest.raises(UsageError, match=r"raw_caption: .* holds no captions with the alt text"):
        join(made[0], few, tmp_path / "out", granularity=5, raw_caption=True)
    with pytest.raises(UsageError, match="is not a caption set: its kind is 'annotate'"):
        join(made[0], made[1].with_name("annotations"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert join(made[0], few, tmp_path / "out", granularity=5).counts["empty_texts"] == 0
