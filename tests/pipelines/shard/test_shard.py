"""Training shards: what other libraries read, the input's own bytes, true offsets, every row accounted for."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
import webdataset
from datasets import load_dataset
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from pipelines.output.totals import DamagedInput
from pipelines.recipes.base import RunOptions
from pipelines.recipes.shard import ShardRecipe
from pipelines.shard.run import shard
from pipelines.verify.run import verify
from schemas.errors import UsageError
from schemas.layouts.blip3_ocr import parse_captions
from schemas.output_set.layout import read_manifests
from schemas.storage.folder import Folder
from tests.conftest import jpeg
from tests.pipelines.support.drivers import hashes
from tests.pipelines.support.sets import ALONE, annotation_set, caption_set, join, line, lines_of, rows

SHARDS, SAMPLES, EACH = 3, 20, 9
KEYS = [f"{10_000 * shard + number:012d}" for shard in range(SHARDS) for number in range(SAMPLES)]
GOOD = [key for key in KEYS if lines_of(key)]  # 48 of 60: five shards of 9 and one of 3
Set = tuple[str, Path]  # glob of the images, folder of their captions


def image_of(key: str) -> bytes:
    return jpeg(1000 * (int(key) // 10_000) + int(key) % 10_000)


def text_of(key: str) -> str:
    return "The image contains " + ", ".join(f'the text "{found.text}"' for found in lines_of(key))


@pytest.fixture(scope="module")
def made(make_shards: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Set:
    folder = tmp_path_factory.mktemp("shard")
    images = make_shards(folder / "images", SHARDS, SAMPLES)
    return images, caption_set(annotation_set(images, folder / "annotations"), folder / "captions")


@pytest.fixture(scope="module")
def training(made: Set, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("training") / "out"
    join(*made, output)
    return output


def test_webdataset_reads_the_shards(training: Path) -> None:
    urls = [str(path) for path in sorted((training / "data").glob("*.tar"))]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert [json.loads(sample["json"])["source_key"] for sample in samples] == GOOD
    for key, sample in zip(GOOD, samples, strict=True):
        assert sample["jpg"] == image_of(key)
        assert sample["txt"].decode() == text_of(key)
        details = json.loads(sample["json"])
        assert details["uid"] == hashlib.md5(key.encode()).hexdigest()
        assert details["alt_text"] == f"picture {key}"
        assert (details["width"], details["height"]) == (64, 48)
        assert parse_captions(details["captions"])[0].text == text_of(key)


def test_datasets_reads_the_shards(training: Path, tmp_path: Path) -> None:
    files = f"{training}/data/*.tar"
    loaded = load_dataset("webdataset", data_files=files, split="train", cache_dir=str(tmp_path))
    assert loaded["txt"] == [text_of(key) for key in GOOD]
    assert [details["source_key"] for details in loaded["json"]] == GOOD
    assert loaded[0]["jpg"].size == (64, 48)
    assert loaded["__key__"] == [f"{at // EACH:08d}{at % EACH:06d}" for at in range(len(GOOD))]


def test_tarfile_reads_the_shards(training: Path) -> None:
    for number, path in enumerate(sorted((training / "data").glob("*.tar"))):
        with tarfile.open(path) as tar:
            members = tar.getmembers()
        names = [f"{number:08d}{row:06d}" for row in range(len(GOOD[EACH * number : EACH * (number + 1)]))]
        assert [m.name for m in members] == [f"{name}.{kind}" for name in names for kind in ("jpg", "json", "txt")]
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {(0, 0, 0, "", "", 0o644)}


def test_offsets_are_true_for_every_sample(training: Path) -> None:
    seen = 0
    for path in sorted((training / "data").glob("*.tar")):
        data = path.read_bytes()
        end = 0
        for row in pq.read_table(training / "index" / f"{path.stem}.parquet").to_pylist():
            part = {each["ending"]: data[each["offset"] :][: each["size"]] for each in row["members"]}
            key = GOOD[seen]
            assert list(part) == ["jpg", "json", "txt"]
            assert hashlib.sha256(part["jpg"]).hexdigest() == row["image_details"][0]["sha256"]
            assert part["jpg"] == image_of(key)
            assert part["txt"].decode() == text_of(key)
            assert json.loads(part["json"])["source_key"] == key
            expected = {"uid": hashlib.md5(key.encode()).hexdigest(), "source": "blip3-ocr", "kind": "captioned_image"}
            expected |= {"characters": len(text_of(key)), "tokens": None, "images": 1}
            assert expected.items() <= row.items()
            assert (row["image_details"][0]["width"], row["image_details"][0]["height"]) == (64, 48)
            assert row["offset"] == end
            end += row["size"]
            seen += 1
        assert data[end:].strip(b"\0") == b""
    assert seen == len(GOOD)


def test_one_range_read_holds_a_whole_sample(training: Path) -> None:
    path = training / "data/00000000.tar"
    row = pq.read_table(training / "index/00000000.parquet").to_pylist()[4]
    read = path.read_bytes()[row["offset"] :][: row["size"]]
    with tarfile.open(fileobj=io.BytesIO(read + bytes(1024))) as tar:
        assert [member.name for member in tar] == [f"{row['key']}.{ending}" for ending in ("jpg", "json", "txt")]
        body = tar.extractfile(f"{row['key']}.jpg")
        assert body is not None
        assert body.read() == image_of(GOOD[4])


@pytest.mark.parametrize("each", [1, 9, 16, 20, 48, 100])
def test_shards_are_of_exact_length(made: Set, tmp_path: Path, each: int) -> None:
    totals = join(*made, tmp_path / "out", samples_per_shard=each)
    manifests = read_manifests(Folder(str(tmp_path / "out"))).values()
    full, rest = divmod(len(GOOD), each)
    assert [manifest.rows_out for manifest in manifests] == [each] * full + [rest] * bool(rest)
    for manifest in manifests:
        assert manifest.rows_in == manifest.rows_out + sum(manifest.reasons.values())
    assert (totals.rows_in, totals.rows_out, totals.reasons) == (60, 48, {"no_caption": 12})
    assert {row["key"] for row in rows(tmp_path / "out", "quarantine")} == set(KEYS) - set(GOOD)
    assert verify(str(tmp_path / "out")) == (len(manifests), [])


def test_input_shards_of_any_size_give_the_same_samples(made: Set, training: Path, tmp_path: Path) -> None:
    """The same pictures in one shard of 1, one of 50 and one of 9, named as others were: joined on uid, not on key."""
    recut = tmp_path / "images"
    recut.mkdir()
    for name, start, stop in (("00000000", 0, 1), ("00000001", 1, 51), ("00000002", 51, 60)):
        with tarfile.open(recut / f"{name}.tar", "w") as tar:
            for number, key in enumerate(KEYS[start:stop]):
                uid = hashlib.md5(key.encode()).hexdigest()
                for kind, data in (("jpg", image_of(key)), ("json", json.dumps({"uid": uid}).encode())):
                    info = tarfile.TarInfo(f"{number:05d}.{kind}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    join(f"{recut}/*.tar", made[1], tmp_path / "out")
    indexes = [
        [{k: row[k] for k in ("key", "uid", "image_details", "characters")} for row in rows(folder, "index")]
        for folder in (tmp_path / "out", training)
    ]
    assert indexes[0] == indexes[1]


def test_parquet_is_read_by_datasets_and_polars(made: Set, tmp_path: Path) -> None:
    join(*made, tmp_path / "out", format="parquet")
    files = f"{tmp_path}/out/data/*.parquet"
    loaded = load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded["text"] == [text_of(key) for key in GOOD]
    assert all(isinstance(image, Image.Image) and image.size == (64, 48) for image in loaded["image"])
    frame = pl.read_parquet(files)
    assert frame["image"].struct.field("bytes").to_list() == [image_of(key) for key in GOOD]
    assert frame["image"].struct.field("path").to_list() == [f"{key}.jpg" for key in frame["key"]]
    assert {(r["offset"], r["size"], r["members"]) for r in rows(tmp_path / "out", "index")} == {(None, None, None)}
    assert verify(str(tmp_path / "out")) == (6, [])


def test_changed_inputs_are_refused(made: Set, training: Path, tmp_path: Path) -> None:
    join(*made, tmp_path / "out")
    join(*made, tmp_path / "out")
    assert hashes(tmp_path / "out") == hashes(training)
    again = annotation_set(made[0], tmp_path / "annotations", lambda key: [line(key)])
    for path in sorted((tmp_path / "out/manifests").glob("*.json"))[1:]:
        path.unlink()
    recipe = ShardRecipe(images=[made[0]], captions=str(made[1]), samples_per_shard=EACH, run=ALONE)
    other = caption_set(again, tmp_path / "captions")
    made[1].rename(tmp_path / "kept")
    other.rename(made[1])
    try:
        with pytest.raises(UsageError, match=r"images or captions have changed since .*/data/00000000 was committed"):
            shard(recipe, str(tmp_path / "out"))
    finally:
        made[1].rename(tmp_path / "other")
        (tmp_path / "kept").rename(made[1])
    shard(recipe, str(tmp_path / "out"))
    assert hashes(tmp_path / "out") == hashes(training)


def test_tokens_are_counted_by_the_named_tokenizer(made: Set, tmp_path: Path) -> None:
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    options = {"tokenizer": str(tmp_path / "tokenizer.json")}
    totals = join(*made, tmp_path / "out", **options)
    assert [row["tokens"] for row in rows(tmp_path / "out", "index")] == [len(text_of(key).split()) for key in GOOD]
    assert totals.counts["tokens"] == sum(len(text_of(key).split()) for key in GOOD)
    tokenizer.add_tokens(["contains"])
    tokenizer.save(options["tokenizer"])
    with pytest.raises(UsageError, match=r"the tokenizer has changed since .*/data/00000000 was committed"):
        join(*made, tmp_path / "out", **options)


def test_a_damaged_input_ends_with_an_error(made: Set, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    whole = Path(made[0]).parent / "00000000.tar"
    (tmp_path / "images/00000000.tar").write_bytes(whole.read_bytes()[:-20_000])
    images = f"{tmp_path}/images/*.tar"
    with pytest.raises(DamagedInput, match=r"00000000: byte .*; their readable samples are committed"):
        join(images, made[1], tmp_path / "out")
    totals = join(images, made[1], tmp_path / "out", run=RunOptions(workers=1, allow_damaged=True))
    assert totals.rows_in == totals.rows_out + totals.quarantined
    assert totals.rows_out > 10


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
@pytest.mark.parametrize("form", ["webdataset", "parquet"])
def test_two_workers_give_the_same_bytes(made: Set, tmp_path: Path, form: str) -> None:
    for workers in (1, 2):
        join(*made, tmp_path / f"out{workers}", format=form, run=RunOptions(workers=workers))
    assert hashes(tmp_path / "out1") == hashes(tmp_path / "out2")
