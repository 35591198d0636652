"""Mixtures: exact shares at every prefix of what is written, the sources' own bytes, the same however it is run."""

import functools
import hashlib
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import fsspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
import yaml
from datasets import load_dataset
from tokenizers import Tokenizer, models, pre_tokenizers

from curation.mixture import ranges, reader
from curation.mixture.reader import CorruptSample
from curation.mixture.sources import open_source
from pipelines.ingest.run import ingest
from pipelines.mix.run import mix, preview_mixture
from pipelines.output.totals import Totals
from pipelines.recipes.base import RunOptions
from pipelines.recipes.ingest import IngestRecipe, IngestRun
from pipelines.recipes.mix import MixRecipe
from pipelines.stats.run import collect_stats
from pipelines.verify.run import verify
from schemas.errors import ShardloomError, UsageError
from schemas.output_set.layout import read_manifests
from schemas.output_set.manifest import seal, unseal
from schemas.output_set.shard_index import get_tokenizer
from schemas.records.document_storage import from_members
from schemas.storage.folder import Folder
from tests.conftest import jpeg
from tests.pipelines.support.drivers import hashes
from tests.pipelines.support.sets import ALONE, annotation_set, caption_set, in_process, join, rows

# 48 captioned images, 21 documents of two images, 30 texts
WEIGHTS = {"ocr": {"weight": 6}, "interleaved": {"weight": 4, "of": {"docs": 3, "text": 1}}}
SHARES = {"ocr": Fraction(6, 10), "docs": Fraction(3, 10), "text": Fraction(1, 10)}
EACH = 16

Member = tuple[str, bytes]


def words(count: int, name: str) -> str:
    return " ".join(f"{name}{number}" for number in range(count))


def taken_in(source: str, files: Path, output: Path, **options: Any) -> Path:
    """`shardloom ingest` in this process."""
    values = {"samples_per_shard": 8, "run": IngestRun(workers=1)} | options
    ingest(IngestRecipe(source=source, input=[str(files)], **values), str(output))
    return output


def documents(folder: Path, output: Path, count: int = 21, **options: Any) -> Path:
    """Documents of two images, in the layout of MINT-1T HTML."""
    folder.mkdir()
    places: dict[str, str] = {}
    table: list[dict[str, Any]] = []
    for row in range(count):
        urls = [f"https://example.org/{row}/{number}.jpg" for number in range(2)]
        for number, url in enumerate(urls):
            places[url] = f"{row}.{number}.jpg"
            (folder / places[url]).write_bytes(jpeg(10_000 + 2 * row + number))
        texts = [words(row + 1, "a"), None, "between", None]
        table.append({"url": f"https://example.org/{row}", "texts": texts, "images": [None, urls[0], None, urls[1]]})
    pq.write_table(pa.Table.from_pylist(table), folder / "set.parquet", row_group_size=8)
    (folder / "urls.json").write_text(json.dumps(places))
    return taken_in("mint-html", folder / "set.parquet", output, images=[f"{folder}/urls.json"], **options)


def texts(folder: Path, output: Path, count: int = 30, **options: Any) -> Path:
    """Texts of one word, of two, and so on."""
    folder.mkdir()
    lines = [json.dumps({"id": f"t{row}", "text": words(row + 1, "t")}) for row in range(count)]
    (folder / "set.jsonl").write_text("\n".join(lines))
    return taken_in("text", folder / "set.jsonl", output, **options)


def tokenizer(folder: Path, splitter: Any) -> str:
    made = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    made.pre_tokenizer = splitter
    made.save(str(folder / "tokenizer.json"))
    return str(folder / "tokenizer.json")


@pytest.fixture(scope="module")
def captions(make_shards: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("captions")
    images = make_shards(folder / "images")
    return images, caption_set(annotation_set(images, folder / "annotations"), folder / "captions")


@pytest.fixture(scope="module")
def sources(captions: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("sources")
    join(*captions, folder / "ocr")
    documents(folder / "documents", folder / "docs")
    texts(folder / "lines", folder / "text")
    return {name: str(folder / name) for name in SHARES}


def recipe(sources: dict[str, str], **options: Any) -> MixRecipe:
    values = {"weights": WEIGHTS, "samples_per_shard": EACH, "run": ALONE} | options
    return MixRecipe.model_validate({"sources": sources} | values)


def mixed(sources: dict[str, str], output: Path, **options: Any) -> Totals:
    return mix(recipe(sources, **options), str(output))


@pytest.fixture(scope="module")
def made(sources: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("mixed") / "out"
    mixed(sources, output)
    return output


def samples_of(folder: Path) -> list[dict[str, bytes]]:
    """The members of all samples of a set of tars, by ending, read by its index."""
    found = []
    for path in sorted((folder / "data").glob("*.tar")):
        data = path.read_bytes()
        for row in pq.read_table(folder / "index" / f"{path.stem}.parquet").to_pylist():
            found.append({m["ending"]: data[m["offset"] :][: m["size"]] for m in row["members"]})
    return found


def identity(row: dict[str, Any]) -> tuple[Any, ...]:
    """What tells a sample of the tests from all others, whatever its key."""
    return row["uid"], row["characters"], *(image["sha256"] for image in row["image_details"])


def order(folder: Path) -> list[tuple[Any, ...]]:
    return [identity(row) for row in rows(folder, "index")]


def test_shares_are_exact_at_every_prefix(made: Path) -> None:
    drawn: Counter[str] = Counter()
    found = rows(made, "index")
    # the documents are through first: 21 of them are 30 % of 70
    assert len(found) == 69
    for count, row in enumerate(found, 1):
        drawn[row["source"]] += 1
        for name, share in SHARES.items():
            assert abs(drawn[name] - count * share) < 1
    assert drawn == {"ocr": 41, "docs": 21, "text": 7}
    assert len(set(order(made))) == 69  # nothing twice


def test_members_are_the_sources_own_bytes(made: Path, sources: dict[str, str]) -> None:
    there: dict[tuple[Any, ...], tuple[dict[str, Any], dict[str, bytes]]] = {}
    for folder in map(Path, sources.values()):
        for row, members in zip(rows(folder, "index"), samples_of(folder), strict=True):
            there[identity(row)] = row, members
    found = rows(made, "index")
    for number, (row, members) in enumerate(zip(found, samples_of(made), strict=True)):
        original, its_members = there[identity(row)]
        assert members == its_members
        assert list(members) == list(its_members)
        assert row["key"] == f"{number // EACH:08d}{number % EACH:06d}"
        same = ("uid", "kind", "images", "image_details", "characters", "tokens", "size")
        assert [row[name] for name in same] == [original[name] for name in same]
    assert {(row["source"], row["kind"]) for row in found} == {
        ("ocr", "captioned_image"),
        ("docs", "document"),
        ("text", "text"),
    }


def test_webdataset_reads_the_shards(made: Path) -> None:
    urls = [str(path) for path in sorted((made / "data").glob("*.tar"))]
    assert [Path(url).name for url in urls] == [f"{number:08d}.tar" for number in range(5)]
    read = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert len(read) == 69
    for sample, row in zip(read, rows(made, "index"), strict=True):
        assert sample["__key__"] == row["key"]
        if row["kind"] == "captioned_image":
            assert hashlib.sha256(sample["jpg"]).hexdigest() == row["image_details"][0]["sha256"]
            assert len(sample["txt"].decode()) == row["characters"]
        else:
            document = from_members(row["key"], {k: v for k, v in sample.items() if not k.startswith("__")})
            assert [image.sha256 for image in document.images] == [image["sha256"] for image in row["image_details"]]


def test_it_is_an_output_set(made: Path, sources: dict[str, str]) -> None:
    assert verify(str(made)) == (5, [])
    manifests = read_manifests(Folder(str(made)))
    assert [manifest.rows_out for manifest in manifests.values()] == [16, 16, 16, 16, 5]
    for manifest in manifests.values():
        assert [file.path for file in manifest.inputs] == [sources["docs"], sources["text"], sources["ocr"]]
        assert manifest.rows_in == manifest.rows_out
    assert sorted(path.name for path in made.iterdir()) == [
        *("README.md", "data", "index", "manifests", "recipe.yaml", "report.html", "stats.json"),
    ]


def test_the_same_bytes_twice_and_after_losing_a_manifest(made: Path, sources: dict[str, str], tmp_path: Path) -> None:
    mixed(sources, tmp_path / "out")
    assert hashes(tmp_path / "out") == hashes(made)
    (tmp_path / "out/manifests/00000002.json").unlink()
    (tmp_path / "out/data/00000002.tar").write_bytes(b"half")
    (tmp_path / "out/parts").mkdir()  # a kill leaves the laid-out indexes behind
    (tmp_path / "out/parts/0123456789abcdef.arrow").write_bytes(b"half")
    assert "the run is not finished" in verify(str(tmp_path / "out"))[1][-1]
    mixed(sources, tmp_path / "out")
    assert hashes(tmp_path / "out") == hashes(made)


def test_the_order_of_a_recipes_keys_is_no_matter(made: Path, sources: dict[str, str], tmp_path: Path) -> None:
    turned = {"interleaved": {"of": {"text": 1, "docs": 3}, "weight": 4}, "ocr": 6}
    mixed(dict(reversed(sources.items())), tmp_path / "out", weights=turned | {"ocr": {"weight": 6}})
    assert hashes(tmp_path / "out") == hashes(made)


def test_the_seed_and_nothing_else_changes_the_order(
    captions: tuple[str, Path], made: Path, sources: dict[str, str], tmp_path: Path
) -> None:
    mixed(sources, tmp_path / "another", seed=1)
    assert order(tmp_path / "another") != order(made)
    assert [row["source"] for row in rows(tmp_path / "another", "index")] == [
        row["source"] for row in rows(made, "index")
    ]
    join(*captions, tmp_path / "ocr", samples_per_shard=5)
    texts(tmp_path / "lines", tmp_path / "text", samples_per_shard=7, bytes_per_shard=5000)
    recut = sources | {name: str(tmp_path / name) for name in ("ocr", "text")}
    mixed(recut, tmp_path / "recut", samples_per_shard=50)
    assert order(tmp_path / "recut") == order(made)


def test_small_stretches_and_few_open_files_give_the_same(
    made: Path, sources: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sample at a time, and more source shards than may stay open."""
    monkeypatch.setattr(ranges, "MAX_OPEN_FILES", 2)
    for limit in (1, 20_000):
        read = functools.partial(reader.read_samples, buffer_bytes=limit)
        monkeypatch.setattr("pipelines.mix.samples.read_samples", read)
        mixed(sources, tmp_path / f"out{limit}")
        assert hashes(tmp_path / f"out{limit}") == hashes(made)


def test_sources_on_an_object_store(made: Path, sources: dict[str, str]) -> None:
    store = fsspec.filesystem("memory")
    try:
        for name, folder in sources.items():
            store.put(folder, f"/mix/{name}", recursive=True)
        distant = {name: f"memory://mix/{name}" for name in sources}
        mix(recipe(distant), "memory://mix/out")
        assert verify("memory://mix/out") == (5, [])
        for path in sorted((made / "data").iterdir()):
            assert store.cat_file(f"/mix/out/data/{path.name}") == path.read_bytes()
    finally:
        store.rm("/mix", recursive=True)


def test_several_sets_are_one_source(sources: dict[str, str], tmp_path: Path) -> None:
    for name in ("text", "docs"):
        shutil.copytree(sources[name], tmp_path / "sets" / name)
    both = {"a": [f"{tmp_path}/sets/*"], "ocr": sources["ocr"]}
    mixed(both, tmp_path / "out", weights={"a": 1, "ocr": 1}, stop="all_exhausted")
    found = rows(tmp_path / "out", "index")
    assert Counter(row["source"] for row in found) == {"a": 51, "ocr": 48}
    assert len(set(order(tmp_path / "out"))) == 99
    assert [row["source"] for row in found[:96]] == ["a", "ocr"] * 48


@pytest.mark.parametrize("form", ["webdataset", "parquet"])
def test_documents_among_captions_as_parquet(
    captions: tuple[str, Path], made: Path, sources: dict[str, str], tmp_path: Path, form: str
) -> None:
    """From tars and from Parquet: every sample is a document, a captioned image one of an image and a text."""
    if form == "parquet":
        join(*captions, tmp_path / "ocr", format="parquet")
        documents(tmp_path / "documents", tmp_path / "docs", format="parquet")
        texts(tmp_path / "lines", tmp_path / "text", format="parquet")
        sources = {name: str(tmp_path / name) for name in sources}
    mixed(sources, tmp_path / "out", format="parquet")
    assert verify(str(tmp_path / "out")) == (5, [])
    assert order(tmp_path / "out") == order(made)
    files = f"{tmp_path}/out/data/*.parquet"
    loaded = load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    frame = pl.read_parquet(files)
    index = rows(tmp_path / "out", "index")
    assert frame["key"].to_list() == [row["key"] for row in index] == loaded["key"]
    assert Counter(row["kind"] for row in index) == {"document": 62, "text": 7}
    captioned = next(number for number, row in enumerate(index) if row["source"] == "ocr")
    (image, _), (_, text) = loaded[captioned]["images"], loaded[captioned]["texts"]
    assert image.size == (64, 48)
    assert text.startswith("The image contains the text")
    assert frame["source"][captioned] == "blip3-ocr"
    assert json.loads(frame["metadata"][captioned])["alt_text"].startswith("picture ")
    assert pl.read_parquet(f"{tmp_path}/out/index/*.parquet")["offset"].null_count() == 69


def test_captions_alone_as_parquet_and_back(
    captions: tuple[str, Path], sources: dict[str, str], tmp_path: Path
) -> None:
    one = {"weights": {"ocr": 1}}
    mixed({"ocr": sources["ocr"]}, tmp_path / "tars", **one)
    mixed({"ocr": sources["ocr"]}, tmp_path / "tables", format="parquet", **one)
    table = pl.read_parquet(f"{tmp_path}/tables/data/*.parquet")
    assert table["key"].to_list() == [f"{n // EACH:08d}{n % EACH:06d}" for n in range(48)]
    assert table["text"].to_list() == [members["txt"].decode() for members in samples_of(tmp_path / "tars")]
    join(*captions, tmp_path / "ocr", format="parquet")
    mixed({"ocr": str(tmp_path / "ocr")}, tmp_path / "back", **one)
    assert hashes(tmp_path / "back/data") == hashes(tmp_path / "tars/data")


def test_weights_by_tokens_images_and_characters(sources: dict[str, str], tmp_path: Path) -> None:
    by_words = tokenizer(tmp_path, pre_tokenizers.WhitespaceSplit())
    for name, make in (("docs", documents), ("text", texts)):
        make(tmp_path / f"{name}-in", tmp_path / name, tokenizer=by_words)  # type: ignore[operator]
    two = {name: str(tmp_path / name) for name in ("docs", "text")}
    weights = {"docs": 1, "text": 2}
    for unit in ("tokens", "characters"):
        output = tmp_path / unit
        mixed(two, output, weights=weights, unit=unit)
        drawn: Counter[str] = Counter()
        index = rows(output, "index")
        largest = max(row[unit] for row in index)
        for row in index:
            drawn[row["source"]] += row[unit]
            for name, weight in weights.items():
                assert abs(drawn[name] - Fraction(weight, 3) * drawn.total()) < largest
    for path in (tmp_path / "tokens/index").glob("*.parquet"):
        told = get_tokenizer(pq.read_schema(path))
        assert told is not None
        assert told.weights_sha256 == hashlib.sha256(Path(by_words).read_bytes()).hexdigest()
    # of other sources some are not counted: theirs would mean nothing beside those that are
    mixed({"ocr": sources["ocr"]} | two, tmp_path / "out", weights={"ocr": 1} | weights)
    assert {row["tokens"] for row in rows(tmp_path / "out", "index")} == {None}
    mixed(
        {"docs": sources["docs"], "ocr": sources["ocr"]},
        tmp_path / "images",
        weights={"docs": 1, "ocr": 1},
        unit="images",
    )
    assert Counter(row["source"] for row in rows(tmp_path / "images", "index")) == {"docs": 21, "ocr": 41}


def test_token_weights_need_tokens(sources: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    by_words = tokenizer(tmp_path, pre_tokenizers.WhitespaceSplit())
    by_letters = tokenizer(tmp_path / "other", pre_tokenizers.Punctuation())
    documents(tmp_path / "d", tmp_path / "docs", tokenizer=by_words)
    texts(tmp_path / "t", tmp_path / "text", tokenizer=by_letters)
    weights = {"docs": 1, "text": 1}
    with pytest.raises(UsageError) as error:
        mixed(
            {"docs": str(tmp_path / "docs"), "text": sources["text"]}, tmp_path / "out", weights=weights, unit="tokens"
        )
    assert not (tmp_path / "out").exists()  # so that it may be taken for another recipe
    assert str(error.value) == (
        "unit: the tokens of source text are not counted: ingest it with --tokenizer, or weight by samples, images or "
        "characters"
    )
    with pytest.raises(UsageError) as error:
        preview_mixture(recipe({name: str(tmp_path / name) for name in weights}, weights=weights, unit="tokens"))
    assert str(error.value) == (
        "unit: the tokens of sources docs and text were counted by different tokenizers: ingest them with the same one"
    )


def test_a_plan_says_what_a_run_then_writes(sources: dict[str, str], tmp_path: Path) -> None:
    asked = recipe(sources, stop="all_exhausted", repeats={"docs": 2, "text": 3})
    found = preview_mixture(asked)
    assert not list(tmp_path.iterdir())
    by_name = {row["source"]: row for row in found["sources"]}
    assert {name: row["epochs"] for name, row in by_name.items()} == {"ocr": 1, "docs": 2, "text": 3}
    assert found["totals"]["samples"] == 48 + 42 + 90
    assert by_name["ocr"]["runs_out_at"] == 80
    mix(asked, str(tmp_path / "out"))
    got = collect_stats(str(tmp_path / "out"))["mixture"]
    assert got["totals"] == {name: count for name, count in found["totals"].items() if name != "tokens"}
    for row in got["sources"]:
        assert row.items() <= by_name[row["source"]].items()
    last = max(n for n, row in enumerate(rows(tmp_path / "out", "index")) if row["source"] == "ocr")
    assert last == 79


def test_stop_after_a_number(sources: dict[str, str], tmp_path: Path) -> None:
    assert mixed(sources, tmp_path / "out", stop=10).rows_out == 10
    found = preview_mixture(recipe(sources, stop=1000, repeats=dict.fromkeys(sources, None)))
    assert {row["source"]: row["counts"]["samples"] for row in found["sources"]} == {
        "ocr": 600,
        "docs": 300,
        "text": 100,
    }
    assert {row["source"]: row["runs_out_at"] for row in found["sources"]} == dict.fromkeys(sources)


def test_sources_that_have_changed_are_refused_by_name(made: Path, sources: dict[str, str], tmp_path: Path) -> None:
    for name, folder in sources.items():
        shutil.copytree(folder, tmp_path / name)
    copies = {name: str(tmp_path / name) for name in sources}
    mixed(copies, tmp_path / "out")
    (tmp_path / "out/manifests/00000003.json").unlink()
    shutil.rmtree(tmp_path / "text")
    texts(tmp_path / "lines", tmp_path / "text", count=31)
    with pytest.raises(UsageError) as error:
        mixed(copies, tmp_path / "out")
    assert str(error.value) == (
        f"sources (text: {tmp_path}/text) have changed since {tmp_path}/out/data/00000000 was committed: "
        "use a new output folder"
    )
    shutil.rmtree(tmp_path / "text")
    shutil.copytree(sources["text"], tmp_path / "text")
    mixed(copies, tmp_path / "out")
    assert hashes(tmp_path / "out/data") == hashes(made / "data")


def test_spoilt_sources_are_not_copied(sources: dict[str, str], tmp_path: Path) -> None:
    shutil.copytree(sources["ocr"], tmp_path / "ocr")
    path = tmp_path / "ocr/data/00000002.tar"
    data, row = path.read_bytes(), pq.read_table(tmp_path / "ocr/index/00000002.parquet").to_pylist()[4]
    only = {"ocr": str(tmp_path / "ocr")}
    inside = row["members"][0]["offset"] + 30
    for number, spoilt in enumerate((data[:inside] + b"?" + data[inside + 1 :], data[: row["offset"]], data[512:])):
        path.write_bytes(spoilt)
        with pytest.raises(ShardloomError, match=rf"{path}: \d+ does not match its index row: verify the set"):
            mixed(only, tmp_path / f"out{number}", weights={"ocr": 1})
    path.unlink()
    with pytest.raises(ShardloomError, match=f"cannot read {path}: No such file or directory"):
        mixed(only, tmp_path / "out", weights={"ocr": 1})
    path.write_bytes(data)
    mixed(only, tmp_path / "out", weights={"ocr": 1})
    assert verify(str(tmp_path / "out")) == (3, [])


@pytest.mark.parametrize("place", ["{}/out", "memory://unfinished/out"])
def test_what_failed_is_no_source_until_it_is_finished(sources: dict[str, str], tmp_path: Path, place: str) -> None:
    shutil.copytree(sources["text"], tmp_path / "text")
    only, out = {"text": str(tmp_path / "text")}, place.format(tmp_path)
    path = tmp_path / "text/data/00000003.tar"
    data = path.read_bytes()
    path.write_bytes(data[:1000])
    small = recipe(only, weights={"text": 1}, samples_per_shard=1)
    with pytest.raises(ShardloomError, match="verify the set"):
        mix(small, out)
    assert read_manifests(Folder(out))
    with pytest.raises(UsageError, match=f"source a: {out} is not finished: run its command again to resume it"):
        open_source("a", [out])
    path.write_bytes(data)
    mix(small, out)
    assert open_source("a", [out]).length == 30
    assert verify(out) == (30, [])


def test_spoilt_parquet_is_not_copied(captions: tuple[str, Path], tmp_path: Path) -> None:
    join(*captions, tmp_path / "ocr", format="parquet")
    path = tmp_path / "ocr/data/00000001.parquet"
    data, only = path.read_bytes(), {"ocr": str(tmp_path / "ocr")}
    inside = data.index(b"\xff\xd8") + 100
    table = pq.read_table(path)
    pq.write_table(table.slice(1), tmp_path / "short.parquet")
    pq.write_table(table.drop_columns(["text"]), tmp_path / "narrow.parquet")
    files = [data[:inside] + b"?" + data[inside + 1 :], data[:1000], b""]
    files += [(tmp_path / f"{name}.parquet").read_bytes() for name in ("short", "narrow")]
    for number, spoilt in enumerate(files):
        path.write_bytes(spoilt)
        with pytest.raises(ShardloomError, match=rf"^(cannot read )?{path}: [^\n]*$"):
            mixed(only, tmp_path / f"out{number}", weights={"ocr": 1})


def test_what_is_no_source_is_named(sources: dict[str, str], captions: tuple[str, Path], tmp_path: Path) -> None:
    def fault(folder: object) -> str:
        with pytest.raises(UsageError) as error:
            preview_mixture(recipe(sources | {"text": str(folder)}))
        return str(error.value)

    assert fault(tmp_path / "none") == (f"source text: {tmp_path}/none is not an output set: it has no recipe.yaml")
    assert fault(f"{tmp_path}/*/none") == f"source text: no file matches {tmp_path}/*/none"
    assert fault(captions[1]) == (
        f"source text: {captions[1]} has no index: it is of kind 'render', no set of training shards"
    )
    copy = tmp_path / "copy"
    shutil.copytree(sources["text"], copy)
    index = copy / "index/00000001.parquet"
    index.write_bytes(index.read_bytes() + b" ")
    assert fault(copy) == f"source text: {index} is not as it was committed: verify the set"
    index.unlink()
    assert fault(copy) == f"source text: cannot read {index}: No such file or directory"
    (copy / "parts").mkdir()
    (copy / "parts/images.arrow").touch()
    assert fault(copy) == f"source text: {copy} is not finished: run its command again to resume it"
    for folder in ("parts", "manifests"):
        shutil.rmtree(copy / folder)
    assert fault(copy) == f"source text: there is no sample in {copy}"


@pytest.mark.parametrize("path", ["../../../../../../dev/zero", "/etc/passwd", "manifests/00000000.json"])
def test_a_manifest_that_leads_out_of_its_set_is_refused(sources: dict[str, str], tmp_path: Path, path: str) -> None:
    copy = Path(shutil.copytree(sources["text"], tmp_path / "copy"))
    manifest = copy / "manifests/00000000.json"
    values = unseal(manifest.read_bytes())
    values["outputs"][0]["path"] = path
    manifest.write_bytes(seal(values))
    with pytest.raises(UsageError) as error:
        preview_mixture(recipe(sources | {"text": str(copy)}))
    told = "outputs.0.path: leads out of the set: its files are in data, index and quarantine"
    assert str(error.value).startswith(f"source text: {manifest}: {told}")
    assert verify(str(copy))[1][0] == f"{manifest}: {told}"


@pytest.mark.parametrize("name", ["data/00000000.tar", "index/00000000.parquet"])
def test_a_link_in_a_set_is_not_followed(sources: dict[str, str], tmp_path: Path, name: str) -> None:
    copy = Path(shutil.copytree(sources["text"], tmp_path / "copy"))
    (copy / name).rename(tmp_path / "outside")
    (copy / name).symlink_to(tmp_path / "outside")
    with pytest.raises(ShardloomError, match=f"{copy / name}: only regular files inside the folder are read"):
        mixed(sources | {"text": str(copy)}, tmp_path / "out")


@pytest.mark.parametrize("form", ["webdataset", "parquet"])
def test_a_linked_data_folder_is_not_followed(sources: dict[str, str], tmp_path: Path, form: str) -> None:
    made = tmp_path / "made"
    texts(tmp_path / "lines", made, format=form)
    (made / "data").rename(tmp_path / "outside")
    (made / "data").symlink_to(tmp_path / "outside")
    with pytest.raises(ShardloomError, match=f"{made}/data/.*: only regular files inside the folder are read"):
        mixed(sources | {"text": str(made)}, tmp_path / "out")


def with_null_members(copy: Path, number: int) -> Path:
    """Puts nulls in place of the members of a set's first sample, with the right hash, and returns the index."""
    index, manifest = copy / "index/00000000.parquet", copy / "manifests/00000000.json"
    table = pq.read_table(index)
    kind = table.schema.field("members").type
    nulls = pa.nulls(number, kind.value_type)
    rows = pa.ListArray.from_arrays(pa.array([0] + [number] * table.num_rows, pa.int32()), nulls).cast(kind)
    pq.write_table(table.set_column(table.schema.get_field_index("members"), "members", rows), index)
    values = unseal(manifest.read_bytes())
    for out in values["outputs"]:
        if out["path"] == "index/00000000.parquet":
            out |= {"size": index.stat().st_size, "sha256": hashlib.sha256(index.read_bytes()).hexdigest()}
    manifest.write_bytes(seal(values))
    return index


def test_nulls_in_an_index_are_named(sources: dict[str, str], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(sources["text"], tmp_path / "copy"))
    with_null_members(copy, 3)
    with pytest.raises(CorruptSample, match="does not match its index row: verify the set"):
        mixed(sources | {"text": str(copy)}, tmp_path / "out")


def test_lists_in_an_index_that_expand_are_refused(sources: dict[str, str], tmp_path: Path) -> None:
    """An index of some kilobytes with one row of two million nulls."""
    copy = Path(shutil.copytree(sources["text"], tmp_path / "copy"))
    index = with_null_members(copy, 2_000_000)
    said = "a list of 2,000,000 entries; at most 1,000,000 are read"
    with pytest.raises(UsageError) as error:
        preview_mixture(recipe(sources | {"text": str(copy)}))
    assert str(error.value) == f"source text: {index} has {said}: verify the set"
    assert verify(str(copy))[1] == [f"{index}: {said}"]


def test_an_index_that_expands_is_refused(
    sources: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index of some kilobytes in which one key of a megabyte stands for all samples, with the right hash."""
    copy = Path(shutil.copytree(sources["text"], tmp_path / "copy"))
    index, manifest = copy / "index/00000000.parquet", copy / "manifests/00000000.json"
    table = pq.read_table(index)
    rows = table.to_pylist()
    long = pa.Table.from_pylist([row | {"key": "k" * (1 << 20)} for row in rows], schema=table.schema)
    pq.write_table(long, index, compression="zstd")
    values = unseal(manifest.read_bytes())
    for out in values["outputs"]:
        if out["path"] == "index/00000000.parquet":
            out |= {"size": index.stat().st_size, "sha256": hashlib.sha256(index.read_bytes()).hexdigest()}
    manifest.write_bytes(seal(values))
    assert index.stat().st_size < 20_000
    monkeypatch.setattr("curation.mixture.sources.MAX_INDEX_BYTES", 2 << 20)
    with pytest.raises(UsageError) as error:
        preview_mixture(recipe(sources | {"text": str(copy)}))
    told = f"source text: {index}: its rows take more memory, more than the 2 MiB that are allowed"
    assert str(error.value) == told


def test_the_command(sources: dict[str, str], made: Path, tmp_path: Path) -> None:
    path = tmp_path / "mix.yaml"
    values = {
        "kind": "mix",
        "sources": dict.fromkeys(sources, "nowhere"),
        "weights": WEIGHTS,
        "samples_per_shard": EACH,
    }
    path.write_text(yaml.safe_dump(values))
    where = [part for name, folder in sources.items() for part in ("--source", f"{name}={folder}")]
    planned = in_process("mix", path, *where, "--plan")
    assert planned.returncode == 0, planned.stderr
    shares = r"\n +30 % +30\.43 % +50\.6 % +20\.76 % *\n"
    assert re.search(rf"interleaved\.docs +21 +42 +885 +1 +69 *{shares}", planned.stdout), planned.stdout
    told = json.loads(in_process("mix", path, *where, "--plan", "--json").stdout)
    assert [row["source"] for row in told["sources"]] == ["docs", "text", "ocr"]
    assert [row["runs_out_at"] for row in told["sources"]] == [69, None, None]
    done = in_process("mix", path, *where, "--output", tmp_path / "out", "--workers", 1)
    assert done.stdout == f"{tmp_path}/out: 69 rows in, 69 out, 0 quarantined\n", done.stderr
    assert hashes(tmp_path / "out/data") == hashes(made / "data")
    shown = in_process("stats", tmp_path / "out").stdout
    assert re.search(rf"interleaved\.docs +21 +42 +885 *{shares}", shown), shown
    wrong = [
        (["--source", "ocr"], "error: --source: 'ocr' is not NAME=FOLDER"),
        (["--source", "a=b"], f"error: recipe {path}: weights: source 'a' has no weight"),
        ([], f"error: source docs: {tmp_path}/nowhere is not an output set: it has no recipe.yaml"),
    ]
    for flags, line in wrong:
        failed = in_process("mix", path, *flags, "--plan")
        assert (failed.returncode, failed.stderr) == (2, f"{line}\n")


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
@pytest.mark.parametrize("form", ["webdataset", "parquet"])
def test_two_workers_give_the_same_bytes(sources: dict[str, str], tmp_path: Path, form: str) -> None:
    for workers in (1, 2):
        mixed(sources, tmp_path / f"out{workers}", format=form, run=RunOptions(workers=workers))
    assert hashes(tmp_path / "out1") == hashes(tmp_path / "out2")
